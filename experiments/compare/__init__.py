"""Put the networks of several runs side by side."""
