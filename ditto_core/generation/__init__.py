"""Generation: one small protocol, four engines that speak it, and the memo's only way to a model."""
