"""What an upstream says reaches the client as it was said."""
