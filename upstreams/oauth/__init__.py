"""The hub as an OAuth client toward upstreams: discovery, clients, the way through the browser, tokens, refresh.

What an answer means is taken from the pure helpers of `mcp.client.auth.utils`; its `OAuthClientProvider` is not used:
it waits for the person inside the request, and knows one person and one process.
"""

from typing import TYPE_CHECKING

from upstreams.credentials import seams

if TYPE_CHECKING:
    from upstreams.credentials.models import Credential


def register() -> None:
    """Offer what credentials ask for. What it takes is loaded with its first use: most processes never need it."""
    seams.oauth.renew = _renew
    seams.oauth.obtain = _obtain
    seams.oauth.revoke = _revoke
    seams.oauth.begin = "oauth-begin"


async def _renew(credential_id: str, version: int) -> None:
    from upstreams.oauth.renewal import renew

    await renew(credential_id, version)


async def _obtain(upstream_id: str) -> None:
    from upstreams.oauth.itself import obtain

    await obtain(upstream_id)


def _revoke(row: "Credential") -> None:
    from upstreams.oauth.ending import revoke

    revoke(row)
