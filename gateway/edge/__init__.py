"""The MCP edge: bytes in, bytes out. What a request means is the core's business (`gateway.types.GatewayCore`)."""
