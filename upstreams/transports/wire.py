"""JSON-RPC 2.0 toward upstreams: what is sent, and the typed envelope of what comes back.

Results stay bytes: they are checked to be JSON and relayed as they came.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from upstreams.errors import ProtocolFault, RpcError

NOTHING: Final = msgspec.Raw()
NO_RESULT: Final = b""
LF, CR = b"\n\r"


class ErrorBody(msgspec.Struct, frozen=True):
    """The `error` member of a JSON-RPC response."""

    code: int
    message: str = ""
    data: Any = None


class Message(msgspec.Struct, frozen=True):
    """Any JSON-RPC message: a response has `result` or `error`, everything else a `method`."""

    jsonrpc: str = ""
    id: int | str | None = None
    method: str = ""
    params: msgspec.Raw = NOTHING
    result: msgspec.Raw = NOTHING
    error: ErrorBody | None = None

    def arguments(self) -> dict[str, Any]:
        """`params` as a dict. Raises `ProtocolFault` when it is something else."""
        if not bytes(self.params):
            return {}
        try:
            return msgspec.json.decode(self.params, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise ProtocolFault("The upstream sent a notification or request with malformed parameters.") from error


_message: Final = msgspec.json.Decoder(Message)
_messages: Final = msgspec.json.Decoder(list[Message])
_encode: Final = msgspec.json.Encoder().encode


def encode(value: Any) -> bytes:
    """Compact JSON text, ASCII-escaped where a lone surrogate leaves no other way."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def request(id: int, method: str, params: Mapping[str, Any]) -> bytes:
    """A request with our id."""
    return encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def notification(method: str, params: Mapping[str, Any] | None = None) -> bytes:
    """A notification, without `params` when there are none."""
    body: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if params:
        body["params"] = params
    return encode(body)


def response(id: int | str, outcome: Mapping[str, Any] | RpcError) -> bytes:
    """Our answer to a request of the upstream."""
    if isinstance(outcome, RpcError):
        error: dict[str, Any] = {"code": outcome.code, "message": outcome.message}
        if outcome.data is not None:
            error["data"] = outcome.data
        return encode({"jsonrpc": "2.0", "id": id, "error": error})
    return encode({"jsonrpc": "2.0", "id": id, "result": outcome})


def decode(text: bytes) -> Message:
    """One message. Raises `ProtocolFault` for anything that is not JSON-RPC 2.0 in well-formed UTF-8 JSON."""
    try:
        text.decode("utf-8")
        message = _message.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        message = _decode_leniently(text)
    if message.jsonrpc != "2.0":
        raise ProtocolFault("The upstream answered something that is not JSON-RPC 2.0.")
    return message


def decode_all(text: bytes) -> list[Message]:
    """One message, or the messages of a batch (2025-03-26 and before)."""
    if text.lstrip()[:1] != b"[":
        return [decode(text)]
    try:
        text.decode("utf-8")
        return _messages.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ProtocolFault("The upstream answered with a malformed batch.") from error


def _decode_leniently(text: bytes) -> Message:
    r"""Second try for text with a lone surrogate escape (`"\ud83d"`), as JavaScript makes by cutting an emoji.

    It is JSON by the letter of RFC 8259, which msgspec refuses; the same escapes are written back.
    """
    if b"\\ud" not in text and b"\\uD" not in text:
        raise ProtocolFault("The upstream answered something that is not JSON-RPC.")
    try:
        body = json.loads(text.decode("utf-8"), parse_constant=_refuse)
        raws = {name: json.dumps(body.pop(name)).encode() for name in ("params", "result") if name in body}
        return msgspec.structs.replace(
            msgspec.convert(body, Message), **{name: msgspec.Raw(raw) for name, raw in raws.items()}
        )
    except (ValueError, AttributeError, RecursionError, msgspec.MsgspecError) as error:
        raise ProtocolFault("The upstream answered something that is not JSON-RPC.") from error


def _refuse(name: str) -> Any:
    raise ValueError(name)


def result_of(message: Message) -> bytes:
    """The result object of a response, on one line. Raises `ProtocolFault` when it is not an object.

    Line breaks in JSON stand between tokens only, so that replacing them changes no value.
    """
    raw = bytes(message.result)
    if raw[:1] != b"{":
        raise ProtocolFault("The upstream answered without a result object.")
    if LF in raw or CR in raw:
        return raw.replace(b"\r", b" ").replace(b"\n", b" ")
    return raw


def error_of(body: ErrorBody) -> RpcError:
    """The upstream's own error, to be relayed."""
    return RpcError(body.code, body.message, body.data)
