"""A credential that is disconnected is revoked where it came from (RFC 7009), as far as that can be done."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog
from django.db import transaction

from mcphub.core.keyring import KeyringError
from upstreams.credentials.models import Credential
from upstreams.oauth import token_endpoint
from upstreams.oauth.clients import as_it_is_now, unpacked
from upstreams.oauth.errors import OAuthFault
from upstreams.oauth.outgoing import outgoing
from upstreams.oauth.types import Client

_telling: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="revoke")

log = structlog.get_logger(__name__)


def revoke(row: Credential) -> None:
    """Tell the issuer after the transaction that deletes the row (`seams.Revoke`)."""
    try:
        secret: dict[str, Any] = row.secret or {}
        endpoint = str(secret.get("revocation_endpoint") or "")
        if not endpoint:
            return
        client = as_it_is_now(row.upstream, unpacked(secret["client"]), row.registration)
    except (KeyringError, OAuthFault):
        return
    token = str(secret.get("refresh_token") or secret["access_token"])
    kind = "refresh_token" if secret.get("refresh_token") else "access_token"
    allow = tuple(row.upstream.egress_allow)
    transaction.on_commit(lambda: _telling.submit(_tell, endpoint, client, token, kind, allow))


def _tell(endpoint: str, client: Client, token: str, kind: str, allow: Sequence[str]) -> None:
    try:
        asyncio.run(_ask(endpoint, client, token, kind, allow))
    except OAuthFault as fault:
        log.info("not_revoked", why=fault.text)


async def _ask(endpoint: str, client: Client, token: str, kind: str, allow: Sequence[str]) -> None:
    async with outgoing(allow) as out:
        await token_endpoint.revoke(out, endpoint, client, token=token, kind=kind)
