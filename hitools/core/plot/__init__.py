"""One look for every figure. Knows results only, never events."""
