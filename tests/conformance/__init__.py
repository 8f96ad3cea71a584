"""The official conformance suite against the hub: `make conformance`, report in docs/conformance.md."""
