"""Dataset: simulated sessions become rows, rows become a folder that `datasets` loads (paper section 3.3 and table 1)."""
