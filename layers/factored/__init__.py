"""Turn a layer into a sequence of a few plain layers."""
