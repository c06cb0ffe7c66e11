"""Accuracy against cost, without a gradient step: what `experiments.sweep` measures and draws."""
