"""Store a weight as its code: weight = decode(code)."""
