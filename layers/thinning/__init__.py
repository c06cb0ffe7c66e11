"""Leave fewer channels, weights or bits: pruning and quantisation."""
