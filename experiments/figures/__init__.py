"""Draw the figures of the thesis, from thesis/results/ alone."""
