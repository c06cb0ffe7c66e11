"""Search for a better plan at the same budget: the policy, its sampler, one trial, what was found."""
