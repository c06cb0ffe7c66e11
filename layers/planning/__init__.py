"""Spend one budget over the layers of a network."""
