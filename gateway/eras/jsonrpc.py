"""JSON-RPC 2.0 messages: their shapes, and their text on the wire."""

import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, Final, Literal

from gateway.errors import INVALID_REQUEST, refused
from upstreams.errors import RpcError

Kind = Literal["request", "notification", "response"]
Id = str | int

dumps: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def kind_of(message: Any) -> Kind:
    """What `message` is. Raises `Refused` (400, -32600) for anything that is not one JSON-RPC message of MCP."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise refused(400, INVALID_REQUEST, "The body must be one JSON-RPC 2.0 message")
    if "method" not in message:
        return _response(message)
    if not isinstance(message["method"], str):
        raise refused(400, INVALID_REQUEST, "The method must be a string")
    if not isinstance(message.get("params", _NO_PARAMS), dict):
        raise refused(400, INVALID_REQUEST, "The params must be an object")
    if "id" not in message:
        return "notification"
    if not is_id(message["id"]):
        raise refused(400, INVALID_REQUEST, "The id must be a string or an integer")
    return "request"


_NO_PARAMS: Final[dict[str, Any]] = {}


def _response(message: Mapping[str, Any]) -> Kind:
    ends = ("result" in message) + ("error" in message)
    if ends != 1 or not is_id(message.get("id")):
        raise refused(400, INVALID_REQUEST, "The body is neither a request, a notification nor a response")
    return "response"


def is_id(value: Any) -> bool:
    """Whether `value` may be a request id in MCP: a string or an integer, never null."""
    return type(value) is str or type(value) is int


def same_id(one: Any, other: Any) -> bool:
    """Whether two ids are the same JSON value; `7` and `"7"` are two ids."""
    return type(one) is type(other) and one == other


def id_text(value: Id | None) -> bytes:
    """The JSON text of an id."""
    if isinstance(value, str):
        return encode_basestring_ascii(value).encode()
    return b"null" if value is None else b"%d" % value


def result_text(id_: bytes, raw: bytes) -> bytes:
    """A response around the JSON text of its result, which stays as it is."""
    return b'{"jsonrpc":"2.0","id":' + id_ + b',"result":' + raw + b"}"


def error_text(id_: bytes, error: RpcError) -> bytes:
    """A response with an error."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return b'{"jsonrpc":"2.0","id":' + id_ + b',"error":' + dumps(body).encode() + b"}"


def notification_text(method: str, params: Mapping[str, Any]) -> bytes:
    """A notification to the client."""
    return dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()


def request_text(id_: str, method: str, params: Mapping[str, Any]) -> bytes:
    """A request to the client."""
    return dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}).encode()


def error_of(value: Any) -> RpcError:
    """The error object of a client's response, as far as it can be understood."""
    if isinstance(value, dict) and isinstance(value.get("code"), int) and isinstance(value.get("message"), str):
        return RpcError(value["code"], value["message"], value.get("data"))
    return RpcError(INVALID_REQUEST, "the client answered with a malformed error")
