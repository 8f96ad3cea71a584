"""The two protocol families as pure rules: what a message must look like, and what the hub says when it does not."""
