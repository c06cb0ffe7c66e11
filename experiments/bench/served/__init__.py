"""What compression is worth where networks are served: every network in every runtime and precision."""
