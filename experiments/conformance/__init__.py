"""Show which kernel takes which option of a layer."""
