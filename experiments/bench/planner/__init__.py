"""Measure what the planner keeps of the accuracy, and how fast."""
