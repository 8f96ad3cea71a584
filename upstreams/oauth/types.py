"""The values that pass between the parts of the OAuth client. Whatever holds a secret hides it in its `repr`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

AuthMethod = Literal["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
Source = Literal["upstream", "domain", "document", "registered"]


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a 401 or 403 of an upstream said in `WWW-Authenticate` (RFC 6750, RFC 9728); "" for what it left out."""

    scope: str = ""
    metadata_url: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """An authorization server as its metadata describes it (RFC 8414), texts exactly as published.

    `published` is false for the endpoints that 2025-03-26 assumes where nothing is published.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str = ""
    revocation_endpoint: str = ""
    scopes: tuple[str, ...] = ()
    auth_methods: tuple[str, ...] = ()
    takes_documents: bool = False
    names_itself: bool = False
    published: bool = True


@dataclass(frozen=True, slots=True)
class Protected:
    """A protected upstream: the identifier of RFC 8707, the scopes that it names, and who gives tokens for it.

    `others` are further authorization servers that it names.
    """

    resource: str
    scopes: tuple[str, ...]
    server: Server
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Client:
    """Who the hub is to one authorization server. `issuer` binds it there; "" is bound to none yet."""

    id: str
    method: AuthMethod
    secret: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)
    algorithm: str = "RS256"
    issuer: str = ""
    source: Source = "registered"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a token endpoint gave. `expires_at` is None where it named no end."""

    access: str = field(repr=False)
    refresh: str = field(default="", repr=False)
    expires_at: datetime | None = None
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The parameters with which an authorization server sends the browser back."""

    state: str = field(default="", repr=False)
    code: str = field(default="", repr=False)
    iss: str = ""
    error: str = ""
    error_description: str = ""


Allow = Sequence[str]
"""Entries of an allow list of the egress guard."""
