"""The record on which the thesis stands: the manifest of its experiments, their results, the tables made of them."""
