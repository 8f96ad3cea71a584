"""What the record holds: one frozen event a moment, joined by `call_id`."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec


class Kind(StrEnum):
    """What happened."""

    INTENT = "intent"
    OUTCOME = "outcome"
    DENIED = "denied"
    ASKED = "asked"
    RESUMED = "resumed"
    ACT = "act"
    SIGN_IN = "sign-in"


class Result(StrEnum):
    """How a call ended, as far as the hub knows (DESIGN: errors)."""

    COMPLETED = "completed"
    FAILED = "failed"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


class PayloadMode(StrEnum):
    """How much of arguments and results is kept."""

    NONE = "none"
    HASH = "hash"
    REDACTED = "redacted"
    FULL = "full"


class Event(msgspec.Struct, frozen=True, gc=False):
    """One row of the record. Ids and names only, no foreign keys: the record outlives what it names.

    A Struct and not a dataclass because two are made per call and it is seven times as quick. Copies with
    changes: `msgspec.structs.replace`.
    `at` is microseconds since 1970 (UTC); `latency_us` microseconds; `request_bytes` and
    `result_bytes` are sizes on the wire. `payload` is JSON text (arguments of an intent, before/after of an
    act) and is stored apart from the chained row; what is kept of it is decided by `payload_mode`.
    """

    kind: Kind
    at: int
    org_id: str
    org: str
    call_id: str = ""
    principal_id: str = ""
    principal: str = ""
    credential: str = ""
    application: str = ""
    method: str = ""
    upstream: str = ""
    name: str = ""
    risk: str = ""
    effect: str = ""
    rule: str = ""
    reason: str = ""
    outcome: str = ""
    upstream_identity: str = ""
    latency_us: int = 0
    request_bytes: int = 0
    result_bytes: int = 0
    trace_id: str = ""
    source: str = ""
    payload: bytes = b""
    payload_mode: PayloadMode = PayloadMode.REDACTED
    details: Mapping[str, Any] = msgspec.field(default_factory=dict)


class AuditUnavailable(Exception):
    """The event could not be made durable in time: nothing may be dispatched (promise 1)."""
