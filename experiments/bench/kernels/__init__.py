"""Time the kernels against scipy, tensorly, PyWavelets and torch-dct."""
