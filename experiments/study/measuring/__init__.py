"""Measure how well a kernel holds a weight: error, energy compaction, numbers kept, time."""
