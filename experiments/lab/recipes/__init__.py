"""Say how each network of a run is made, and make it."""
