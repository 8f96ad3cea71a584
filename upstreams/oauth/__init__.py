"""The hub as an OAuth client toward upstreams: discovery, clients, the way through the browser, tokens and their refresh.

What an answer means is taken from the pure helpers of `mcp.client.auth.utils`; its `OAuthClientProvider` is not used:
it waits for the person inside the request, and knows one person and one process.
"""
