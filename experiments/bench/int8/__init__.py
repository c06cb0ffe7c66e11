"""Measure what 8-bit integers keep of the accuracy, and how fast they are."""
