"""Measure what real images show of a network: second moments of inputs and gradients, statistics of BatchNorm."""
