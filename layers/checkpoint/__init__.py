"""Keep a network, export it and read it back."""
