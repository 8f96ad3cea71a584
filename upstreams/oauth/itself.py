"""Tokens that the hub gets for itself, without a person: the client credentials grant (RFC 6749, 4.4)."""

from mcphub.accounts.acts import Actor
from mcphub.core import aio
from mcphub.core.keyring import KeyringError
from upstreams.credentials import services
from upstreams.credentials.models import SHARED, Credential
from upstreams.errors import NeedsConnection, Unreachable
from upstreams.models import Upstream
from upstreams.oauth import authorization, token_endpoint
from upstreams.oauth.clients import bind, packed
from upstreams.oauth.discovery import challenge_of, discover
from upstreams.oauth.errors import OAuthFault, Refused
from upstreams.oauth.outgoing import outgoing
from upstreams.oauth.setup import CLIENT_CREDENTIALS, Setup, operators_client, setup_of
from upstreams.oauth.types import Client, Protected, Tokens

HUB = Actor("hub")


async def obtain(upstream_id: str) -> None:
    """Fill the shared slot, if the upstream is set up for it (`seams.Obtain`).

    Raises `Unreachable` for what may pass and `NeedsConnection` for what an operator has to mend.
    """
    row = await aio.in_thread(_row, upstream_id)
    if row is None:
        return
    try:
        setup = await aio.in_thread(setup_of, row)
        if setup.for_itself:
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
