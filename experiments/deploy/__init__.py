"""Write a run's networks for the runtimes that serve them, and measure the files there, against what was promised."""
