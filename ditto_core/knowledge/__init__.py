"""Knowledge: from a knowledge base and an encyclopedia to one profile a character (paper section 3.2)."""
