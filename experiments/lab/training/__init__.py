"""Train a classifier, on one machine or many."""
