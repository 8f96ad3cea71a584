"""Which headers of a client may go on with its calls to an upstream, where the operator lists them.

Each belongs to one request. A connection that everybody shares and that has a session of its own takes none: a
server may keep what the first request of a session said, and would then serve one person's calls as another's.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from upstreams.transports.headers import CLAIMS_HEADER, NOT_FORWARDED

MOST: Final = 16
__all__ = ["CLAIMS_HEADER", "chosen", "faults_of", "refusal"]

_NAME: Final = re.compile(r"\A[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,80}\Z")
CREDENTIALS: Final = frozenset(
    {"authorization", "cookie", "cookie2", "set-cookie", "x-api-key", "api-key", "x-auth-token", "x-access-token",
     "x-csrf-token", "x-csrftoken", "x-xsrf-token", "www-authenticate", "authentication", "dpop"}
)  # fmt: skip
OF_PROXIES: Final = frozenset(
    {"forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "remote-user",
     "x-remote-user", "x-webauth-user", "x-original-url", "x-rewrite-url", "x-original-host", "client-ip"}
)  # fmt: skip
OF_THE_HOP: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "trailers", "transfer-encoding", "upgrade", "http2-settings",
     "content-encoding", "content-range", "range", "if-match", "if-none-match", "origin", "referer", "early-data"}
)  # fmt: skip
PREFIXES: Final = (
    "proxy-", "x-forwarded-", "x-envoy-", "x-auth-request-", "x-amzn-oidc-", "x-goog-iap-", "x-goog-auth", "cf-",
    "x-ms-client-principal", "x-authentik-", "sec-", "access-control-", "mcp-", "x-mcphub-", "traceparent",
    "tracestate", "baggage",
)  # fmt: skip


def refusal(name: str) -> str:
    """Why the header of this name never goes on, as the end of a sentence; "" when it may."""
    plain = name.lower()
    if not _NAME.match(name):
        return "is not the name of a header"
    if plain in CREDENTIALS:
        return "is the client's credential for the hub, or may be"
    if plain in OF_PROXIES or plain.startswith(("proxy-", "x-forwarded-")):
        return "is said by proxies, and about the way to the hub"
    if plain in OF_THE_HOP or plain in NOT_FORWARDED or plain.startswith(PREFIXES):
        return "belongs to the connection between client and hub"
    return ""


def faults_of(names: Iterable[str]) -> list[str]:
    """What is wrong with a list of headers, each a sentence."""
    names = list(names)
    found = [f"“{name}” {why}." for name in names if (why := refusal(name))]
    return found if len(names) <= MOST else [*found, f"There are more than {MOST}."]


def chosen(sent: Mapping[str, str], names: frozenset[str], own: Mapping[str, str]) -> dict[str, str]:
    """Of what a client sent, what goes on: the operator's list, without what the upstream is given anyway."""
    return {name: value for name, value in sent.items() if name in names and name not in own}
