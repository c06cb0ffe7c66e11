"""Make the thesis's numbers again: run what is missing, and write thesis/results/."""
