"""The URLs of this hub as clients know them, and which endpoint a resource indicator names (RFC 8707)."""

from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from django.conf import settings
from django.http import HttpRequest

from gateway.edge import paths
from gateway.types import Route

PORTS: Final = {"http": 80, "https": 443}
DEFAULT_PATH: Final = "/mcp"


def issuer(request: HttpRequest) -> str:
    """The hub's own URL without a slash at the end: the issuer of its tokens (RFC 8414, RFC 9207)."""
    public = urlsplit(settings.HUB.server_url)
    origin = f"{public.scheme}://{public.netloc}" if public.netloc else f"{request.scheme}://{request.get_host()}"
    return origin + str(settings.START.script_name)


def resource_url(request: HttpRequest, path: str) -> str:
    """The URL of the endpoint at `path`."""
    return issuer(request) + quote(path)


def below(path: str) -> str:
    """`path` without what stands before the hub's own paths."""
    name = settings.START.script_name
    return path[len(name) :] if name and path.startswith(f"{name}/") else path


def endpoint(resource: str, request: HttpRequest) -> Route | None:
    """The endpoint of this hub that `resource` is the URL of; None for any other text."""
    own, asked = _split(issuer(request)), _split(resource)
    if own is None or asked is None or _origin(own) != _origin(asked) or any(mark in resource for mark in "?#@\\"):
        return None
    path = unquote(asked.path)
    name = settings.START.script_name
    if name and not path.startswith(f"{name}/"):
        return None
    return paths.parse(path[len(name) :])


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:  # which reading the port may raise, too
        return None


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)
