"""Start checks."""
