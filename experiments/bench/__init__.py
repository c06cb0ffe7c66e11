"""Measure our kernels, layers, training and planner against their peers."""
