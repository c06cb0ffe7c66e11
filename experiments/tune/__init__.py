"""Search for training settings: the space, one trial, any number of workers on one study, figures."""
