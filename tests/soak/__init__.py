"""Long proofs: what the hub promises about its own death, at the length that the promise names.

Each part is a function that runs at any length and returns what it found; tests run them short,
`python -m tests.soak` (`make soak`) long.
"""
