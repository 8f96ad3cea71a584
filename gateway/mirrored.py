"""Arguments that a modern client must repeat in headers (2026-07-28, transports, custom headers)."""

from typing import Any, Final

import msgspec
from mcp.shared.inbound import validate_mcp_param_headers

from gateway.errors import HEADER_MISMATCH, refused
from gateway.router import Reach
from gateway.types import Request

_definition: Final = msgspec.json.Decoder(dict[str, Any])


def check_mirrored(request: Request, reach: Reach) -> None:
    """Raises `Refused` (400, -32020) when a header and the argument that it repeats disagree.

    Only for tools that the principal may see: a hidden one must look like none at all.
    """
    name, arguments = request.params.get("name"), request.params.get("arguments")
    if request.method != "tools/call" or not isinstance(name, str):
        return
    entry = reach.find("tool", name)
    if entry is None or not entry.mirrors or not reach.is_visible(entry):
        return
    schema = _definition.decode(entry.body).get("inputSchema")
    fault = validate_mcp_param_headers(
        schema, arguments if isinstance(arguments, dict) else {}, request.param_headers
    )
    if fault is not None:
        raise refused(400, HEADER_MISMATCH, fault.message)
