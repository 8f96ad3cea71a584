"""Admin pages, one module a model."""
