"""Count parameters and multiplications, measure seconds and memory."""
