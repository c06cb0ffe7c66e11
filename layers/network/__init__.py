"""Serve any nn.Module: find and swap its layers, run it, fill it, write its files whole."""
