"""Real things for tests: hubs, upstreams, clients, databases, each in a process of its own."""
