"""The schedule of periodic tasks."""
