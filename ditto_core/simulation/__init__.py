"""Simulation: questions and answers that the seed LLM writes over profiles (paper section 3.3)."""
