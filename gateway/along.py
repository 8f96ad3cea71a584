"""What goes along with a call besides its parameters, for upstreams whose operator asked for it."""

from collections.abc import Mapping
from typing import Final

from gateway.types import Request
from mcphub.accounts.links import home
from upstreams.claims import META_KEY, token
from upstreams.clientheaders import chosen
from upstreams.types import UpstreamSpec

NO_HEADERS: Final[Mapping[str, str]] = {}


def along(request: Request, spec: UpstreamSpec, call_id: str) -> tuple[Mapping[str, str], str, Mapping[str, str]]:
    """The client's headers that go on, the claims for a header ("" for none), and what goes into `_meta`."""
    headers = NO_HEADERS
    if spec.forward_headers and request.headers:
        headers = chosen(request.headers, spec.forward_headers, {name.lower(): "" for name in spec.headers})
    if not spec.claims:
        return headers, "", request.trace
    signed = token(request.principal, issuer=home(), audience=spec.audience, call_id=call_id)
    if spec.claims == "meta":
        return headers, "", {**request.trace, META_KEY: signed}
    return headers, signed, request.trace
