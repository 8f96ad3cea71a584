"""Errors on their way to a client, counted."""

from typing import Final

from audit.metrics import ERRORS, OTHER
from gateway import errors
from gateway.eras import jsonrpc
from upstreams.errors import RpcError

KNOWN: Final = frozenset(value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int))
"""Codes that are counted by themselves; an upstream may answer any other."""


def error_text(id_: bytes, error: RpcError) -> bytes:
    """A response with an error."""
    ERRORS.labels(str(error.code) if error.code in KNOWN else OTHER).inc()
    return jsonrpc.error_text(id_, error)
