"""How fast the hub is: a fast upstream, a load generator, one table (`make bench`)."""
