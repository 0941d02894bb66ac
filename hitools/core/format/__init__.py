"""Event files and streams: layout, reading, writing, provenance (see hi-format(5))."""
