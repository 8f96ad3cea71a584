"""The hub as OAuth authorization server for MCP clients (DESIGN §8), on django-oauth-toolkit.

| module | holds |
|---|---|
| `metadata` | the well-known documents, made from the path's syntax |
| `redirects`, `registration`, `documents` | which clients there may be, and how they become known |
| `authorize`, `consent` | the browser's part: what is asked, who chooses, what was remembered |
| `endpoints`, `validator`, `service_tokens` | the machine's part: tokens, their rotation and their end |
| `approvals` | what people allowed, which outlives every single token |
| `prover` | who is behind a token, for the call path |
"""
