"""Evaluation: WikiRoleEval's three metrics, their judges, scores and the report (paper section 4)."""
