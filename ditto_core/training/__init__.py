"""Training: the dataset in, a character model out. Supervised fine-tuning without the profiles (paper section 3.4)."""
