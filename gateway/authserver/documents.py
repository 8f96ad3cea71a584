"""Clients whose id is the URL of a document about themselves (draft-ietf-oauth-client-id-metadata-document).

The document is fetched by the hub's guarded client, and only when a signed-in person comes with such an id.
"""

import asyncio
import re
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import structlog
from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import transaction
from oauth2_provider.models import Application

from gateway.authserver import redirects
from gateway.authserver.registration import BadMetadata, parsed, read
from mcphub.core import clock, http
from mcphub.core.netguard import EgressBlocked

MIN_AGE_S: Final = 300
MAX_AGE_S: Final = 86_400
BACKOFF_S: Final = 30
MOST_FAILED: Final = 1_000
ID_CHARS: Final = 255
MAX_AGE: Final = re.compile(r"max-age\s*=\s*(\d{1,9})", re.IGNORECASE)
JSON_TYPE: Final = re.compile(r"\Aapplication/(?:[\w.+-]+\+)?json\s*(?:;|\Z)", re.IGNORECASE)

log = structlog.get_logger(__name__)


class Unreadable(Exception):
    """The document cannot be used; the message is for the person who came with the client."""


class Documents:
    """What this process knows of documents that failed, and how many it fetches at once."""

    def __init__(self) -> None:
        self._failed: dict[str, tuple[float, str]] = {}
        self._free = threading.BoundedSemaphore(max(1, settings.HUB.limits.documents))

    def refresh(self, client_id: str) -> None:
        """Have the client of this URL known, by what its document says now. Raises `Unreadable`."""
        stored = Application.objects.filter(client_id=client_id).first()
        if stored is not None and (stored.registration_source != "cimd" or not _is_stale(stored)):
            return
        try:
            self._fetch(client_id)
        except Unreadable:
            if stored is None:
                raise

    def _fetch(self, client_id: str) -> None:
        if fault := id_fault(client_id):
            raise Unreadable(fault)
        until, why = self._failed.get(client_id, (0.0, ""))
        if clock.monotonic() < until:
            raise Unreadable(why)
        if not self._free.acquire(blocking=False):
            raise Unreadable("The hub reads too many such documents just now; try again in a moment.")
        try:
            said, age_s = async_to_sync(_document)(client_id)
            _keep(client_id, said, age_s)
        except Unreadable as error:
            self._note(client_id, str(error))
            raise
        finally:
            self._free.release()

    def _note(self, client_id: str, why: str) -> None:
        log.info("client_document_unreadable", client=client_id, why=why)
        if len(self._failed) >= MOST_FAILED:
            self._failed.clear()
        self._failed[client_id] = (clock.monotonic() + BACKOFF_S, why)


def is_document_id(client_id: str) -> bool:
    """Whether a client id is the URL of a document."""
    return client_id.startswith("https://")


def id_fault(client_id: str) -> str:
    """Why this URL cannot be a client's id, or "" (section 3 of the draft)."""
    parts = urlsplit(client_id)
    plain = len(client_id) <= ID_CHARS and not redirects.fault(client_id)
    if not plain or parts.scheme != "https" or parts.path in ("", "/"):
        return "Its id is no https URL with a path."
    return ""


async def _document(client_id: str) -> tuple[Mapping[str, Any], int]:
    """The JSON object behind the URL and how long it may be used. Raises `Unreadable`."""
    limits = settings.HUB.limits
    try:
        async with asyncio.timeout(limits.document_s), http.client(settings.HUB.egress_allow) as client:
            asking = client.stream("GET", client_id, headers={"Accept": "application/json"}, follow_redirects=False)
            async with asking as answer:
                if answer.status_code != httpx.codes.OK:
                    raise Unreadable(f"Its document answers with status {answer.status_code}.")
                if not JSON_TYPE.match(answer.headers.get("content-type", "")):
                    raise Unreadable("Its document is not JSON.")
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > limits.client_bytes:
                        raise Unreadable("Its document is too large.")
                return parsed(body), _age_s(answer.headers.get("cache-control", ""))
    except EgressBlocked:
        raise Unreadable("Its document lies where the hub may not connect to.") from None
    except http.RedirectedElsewhere:
        raise Unreadable("Its document is somewhere else now.") from None
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
        raise Unreadable("Its document cannot be reached.") from None
    except BadMetadata as error:
        raise Unreadable(f"Its document cannot be used: {error}.") from None


def _keep(client_id: str, said: Mapping[str, Any], age_s: int) -> None:
    """Store what the document says. Raises `Unreadable`."""
    if said.get("client_id") != client_id:
        raise Unreadable("Its document is about another client.")
    if "client_secret" in said or "client_secret_expires_at" in said:
        raise Unreadable("Its document holds a secret.")
    try:
        metadata = read(said, default_method="none")
    except BadMetadata as error:
        raise Unreadable(f"Its document cannot be used: {error}.") from None
    if metadata.auth_method != "none":
        raise Unreadable("Its document asks for a secret.")
    values = {
        "name": metadata.name,
        "redirect_uris": " ".join(metadata.redirect_uris),
        "client_type": Application.CLIENT_PUBLIC,
        "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
        "client_secret": "",
        "hash_client_secret": False,
        "registration_source": Application.RegistrationSource.CIMD,
        "cimd_expires_at": clock.now() + timedelta(seconds=age_s),
    }
    with transaction.atomic():
        Application.objects.update_or_create(client_id=client_id, defaults=values)


def _is_stale(application: Any) -> bool:
    return application.cimd_expires_at is None or application.cimd_expires_at <= clock.now()


def _age_s(cache_control: str) -> int:
    found = MAX_AGE.search(cache_control)
    age = (
        0 if re.search(r"no-(?:store|cache)", cache_control, re.IGNORECASE) else int(found[1]) if found else MAX_AGE_S
    )
    return max(MIN_AGE_S, min(age, MAX_AGE_S))
