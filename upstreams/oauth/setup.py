"""What the hub knows of an upstream's OAuth before it asks anybody: configuration, clients, what binds them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from upstreams.models import OAuthRegistration, Upstream
from upstreams.oauth.due import CLIENT_CREDENTIALS
from upstreams.oauth.errors import Refused
from upstreams.oauth.types import AuthMethod, Client, Server
from upstreams.selectors import Unusable, spec_of, variable_values
from upstreams.variables import fill

Origin = OAuthRegistration.Origin


@dataclass(frozen=True, slots=True)
class Setup:
    """One upstream at this moment. `headers` are what operators give it, without credentials.

    `issuers` are the authorization servers that its clients belong to; what they name goes before what is first.
    """

    url: str
    allow: tuple[str, ...]
    headers: Mapping[str, str] = field(repr=False)
    config: Mapping[str, Any] = field(repr=False)
    scopes: tuple[str, ...] = ()
    issuers: tuple[str, ...] = ()

    @property
    def for_itself(self) -> bool:
        """Whether the hub gets a token for itself, without a person."""
        return self.config.get("grant_type") == CLIENT_CREDENTIALS


def setup_of(row: Upstream) -> Setup:
    """Raises `Refused` when the row cannot be used as it is configured."""
    try:
        spec = spec_of(row)
    except Unusable as fault:
        raise Refused(str(fault)) from None
    config = _filled(row)
    headers = {name: value for name, value in spec.headers.items() if name.lower() != "authorization"}
    own = OAuthRegistration.objects.filter(org_id=row.org_id).exclude(issuer="")
    issuers = [str(config["issuer"])] if config.get("issuer") else []
    issuers += own.filter(upstream=row).values_list("issuer", flat=True)
    issuers += own.filter(upstream=None).values_list("issuer", flat=True)
    scopes = tuple(str(scope) for scope in config.get("scopes") or ())
    return Setup(spec.url, spec.egress_allow, headers, config, scopes, tuple(dict.fromkeys(issuers)))


def _filled(row: Upstream) -> dict[str, Any]:
    values = variable_values(row)
    return {name: fill(value, values) if isinstance(value, str) else value for name, value in row.oauth.items()}


def operators_client(row: Upstream, setup: Setup, server: Server) -> Client | None:
    """The client that an operator entered, for this upstream or for its domain; None when there is none.

    Raises `Refused` when it belongs to another authorization server than the one that the upstream names now.
    """
    if setup.config.get("client_id"):
        found = _of_config(setup.config, server)
        pins = OAuthRegistration.objects.filter(upstream=row, origin=Origin.PREREGISTERED, client_id=found.id)
        used = pins.values_list("issuer", flat=True).first()
        return _bound(found, str(setup.config.get("issuer") or used or ""), server)
    entered = _of_domain(row, urlsplit(setup.url).hostname or "", server)
    return None if entered is None else _bound(client_of(entered, server), entered.issuer, server)


def _bound(client: Client, issuer: str, server: Server) -> Client:
    if issuer and issuer != server.issuer:
        raise Refused(
            f"The upstream names the authorization server {server.issuer}, but its OAuth client belongs to {issuer}. "
            "If that is right, an operator has to enter the new issuer beside the client."
        )
    return client


def _of_config(config: Mapping[str, Any], server: Server) -> Client:
    key, secret = str(config.get("private_key") or ""), str(config.get("client_secret") or "")
    return Client(
        id=str(config["client_id"]),
        method=_method(str(config.get("token_endpoint_auth_method") or ""), key, secret, server),
        secret=secret,
        private_key=key,
        algorithm=str(config.get("signing_algorithm") or "RS256"),
        issuer=server.issuer,
        source="upstream",
    )


def _of_domain(row: Upstream, host: str, server: Server) -> OAuthRegistration | None:
    """The operator's client for the longest domain that the host is in; one for this very issuer goes first."""
    entered = OAuthRegistration.objects.filter(org_id=row.org_id, upstream=None, origin=Origin.PREREGISTERED)
    fitting = [each for each in entered.exclude(domain="") if within(host, each.domain)]
    return max(fitting, key=lambda each: (len(each.domain), each.issuer == server.issuer), default=None)


def within(host: str, domain: str) -> bool:
    """Whether a host is the domain or below it."""
    name, whole = host.lower().rstrip("."), domain.lower().strip(".")
    return name == whole or name.endswith(f".{whole}")


def client_of(row: OAuthRegistration, server: Server) -> Client:
    """The stored client as it proves itself to `server`."""
    key, secret = str(row.secret.get("private_key") or ""), str(row.secret.get("client_secret") or "")
    return Client(
        id=row.client_id,
        method=_method(row.auth_method, key, secret, server),
        secret=secret,
        private_key=key,
        algorithm=str(row.secret.get("signing_algorithm") or "RS256"),
        issuer=server.issuer,
        source="domain" if row.origin == Origin.PREREGISTERED else "registered",
    )


def _method(named: str, key: str, secret: str, server: Server) -> AuthMethod:
    """How a client proves itself: as written, else by what it holds and what the server takes."""
    if named:
        return cast(AuthMethod, named)
    if key:
        return "private_key_jwt"
    if not secret:
        return "none"
    only_post = "client_secret_post" in server.auth_methods and "client_secret_basic" not in server.auth_methods
    return "client_secret_post" if only_post else "client_secret_basic"
