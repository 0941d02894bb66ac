"""Everything that the commands call, and that a notebook may import: see the modules."""
