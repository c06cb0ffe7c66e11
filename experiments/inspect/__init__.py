"""Look inside a network: its filters before and after, their spectra, ranks, norms and trees."""
