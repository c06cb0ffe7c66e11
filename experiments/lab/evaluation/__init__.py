"""Look at networks: what they see of calibration images, how often they are right, how fast they answer."""
