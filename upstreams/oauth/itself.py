"""Tokens that the hub gets for itself, without a person: the client credentials grant (RFC 6749, 4.4)."""

from typing import Final

from mcphub.accounts.acts import Actor
from mcphub.core import aio, clock
from mcphub.core.keyring import KeyringError
from upstreams.credentials import services
from upstreams.credentials.models import SHARED, Credential
from upstreams.errors import NeedsConnection, Unreachable, UpstreamError
from upstreams.models import Upstream
from upstreams.oauth import authorization, token_endpoint
from upstreams.oauth.clients import bind, packed
from upstreams.oauth.discovery import challenge_of, discover
from upstreams.oauth.due import CLIENT_CREDENTIALS
from upstreams.oauth.errors import OAuthFault, Refused
from upstreams.oauth.outgoing import outgoing
from upstreams.oauth.setup import Setup, operators_client, setup_of
from upstreams.oauth.types import Client, Protected, Tokens

HUB: Final = Actor("hub")
REST_S: Final = 5


_failed: Final[dict[str, tuple[float, UpstreamError]]] = {}


async def obtain(upstream_id: str) -> None:
    """Fill the shared slot, if the upstream is set up for it (`seams.Obtain`).

    Raises `Unreachable` for what may pass and `NeedsConnection` for what an operator has to mend; the same again for
    a few seconds, during which nobody is asked.
    """
    until, fault = _failed.get(upstream_id, (0.0, None))
    if fault is not None and clock.monotonic() < until:
        raise fault
    try:
        await _obtain(upstream_id)
    except UpstreamError as trouble:
        _failed[upstream_id] = (clock.monotonic() + REST_S, trouble)
        raise
    _failed.pop(upstream_id, None)


async def _obtain(upstream_id: str) -> None:
    row = await aio.in_thread(_row, upstream_id)
    try:
        setup = None if row is None else await aio.in_thread(setup_of, row)
        if row is not None and setup is not None and setup.for_itself:
            await aio.in_thread(_keep, row, *await _tokens(row, setup))
    except Refused as fault:
        raise NeedsConnection(fault.text) from fault
    except (OAuthFault, KeyringError) as fault:
        raise Unreachable("The hub gets no access from the upstream's authorization server just now.") from fault


def _row(upstream_id: str) -> Upstream | None:
    return Upstream.objects.filter(pk=upstream_id).select_related("org", "state").first()


async def _tokens(row: Upstream, setup: Setup) -> tuple[Protected, Client, Tokens]:
    async with outgoing(setup.allow) as out:
        challenge = await challenge_of(out, setup.url, setup.headers)
        protected = await discover(out, setup.url, challenge, setup.issuers)
        client = await aio.in_thread(operators_client, row, setup, protected.server)
        if client is None:
            raise Refused("An operator has to enter the OAuth client with which the hub gets its own access.")
        scope = " ".join(authorization.scopes_for(protected, challenge, setup.scopes))
        server = protected.server
        tokens = await token_endpoint.client_credentials(
            out, server.token_endpoint, client, scope=scope, resource=protected.resource
        )
    return protected, client, tokens


def _keep(row: Upstream, protected: Protected, client: Client, tokens: Tokens) -> Credential:
    return services.store(
        row,
        SHARED,
        {
            "access_token": tokens.access,
            "token_endpoint": protected.server.token_endpoint,
            "client": packed(client),
            "grant": CLIENT_CREDENTIALS,
        },
        by=HUB,
        take_over=True,
        issuer=protected.server.issuer,
        resource=protected.resource,
        scopes=tokens.scope.split(),
        expires_at=tokens.expires_at,
        registration=bind(row, client),
    )
