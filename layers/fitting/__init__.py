"""Fit factors to what the loss depends on."""
