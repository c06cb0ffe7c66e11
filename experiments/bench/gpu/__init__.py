"""What a GPU makes of the kernels, of low-rank networks, of a training and of a compression."""
