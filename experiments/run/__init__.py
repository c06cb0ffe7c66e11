"""Train, compress with each kernel, fine-tune, compare and report."""
