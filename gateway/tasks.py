"""The tasks extension (`io.modelcontextprotocol/tasks`): a call that goes on after its answer.

A client holds a sealed task id, which opens for its principal only and says which upstream and tool it is of, so
that every later request is decided by policy anew. No I/O.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.calls import Call, Refused, check_spelling
from gateway.errors import MISSING_CAPABILITY
from gateway.failures import unknown
from gateway.relay import encode, members, result_type
from gateway.router import Reach, target_of
from mcphub.core.keyring import KeyringError, keyring
from mcphub.core.principal import Principal
from upstreams.errors import RpcError

EXTENSION: Final = "io.modelcontextprotocol/tasks"
NEEDED: Final[dict[str, Any]] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
PURPOSE: Final = "task"
CREATED: Final = "task"
TASK_ID: Final = "taskId"
ARGUMENTS_BYTES: Final = 1024
"""Arguments up to this size are kept in the id, for conditions that read them."""


class Task(msgspec.Struct, frozen=True, array_like=True):
    """What a sealed task id holds; `arguments` is JSON text, "" when they are too large."""

    id: str
    upstream_id: str
    tool: str
    arguments: str = ""


def reader(method: str, *, resend: bool = False) -> Callable[[Mapping[str, Any], Reach], Call]:
    """What a later request about a task means as a call: one to the tool that began it."""

    def read(params: Mapping[str, Any], reach: Reach) -> Call:
        declared = reach.client.capabilities.get("extensions")
        if not isinstance(declared, dict) or EXTENSION not in declared:
            raise Refused(RpcError(MISSING_CAPABILITY, "The request does not declare the tasks extension", NEEDED))
        check_spelling(params)
        shown = params.get(TASK_ID)
        task = _opened(shown, reach.principal)
        entry = task and reach.snapshot.catalogue.own(task.upstream_id, "tool", task.tool, reach.principal.id)
        if (
            not task
            or not entry
            or not reach.has(entry)
            or (reach.only is not None and reach.only.id != task.upstream_id)
        ):
            raise Refused(unknown("task", str(shown)))
        spec = reach.snapshot.specs[task.upstream_id]
        arguments = json.loads(task.arguments) if task.arguments else {}
        own = {**params, TASK_ID: task.id}
        return Call(method, target_of(entry), spec, own, arguments, shown_as=str(shown), resend=resend)

    return read


READERS: Final = {
    "tasks/get": reader("tasks/get", resend=True),
    "tasks/update": reader("tasks/update"),
    "tasks/cancel": reader("tasks/cancel"),
}


def wrapped(raw: bytes, call: Call, reach: Reach) -> bytes:
    """The result with the task id that this client holds, where it has one."""
    if call.method != "tools/call":
        shown = call.shown_as
    elif result_type(raw) == CREATED:
        shown = ""
    else:
        return raw
    found = members(raw)
    if TASK_ID in found:
        own = str(msgspec.json.decode(found[TASK_ID]))
        found[TASK_ID] = msgspec.Raw(encode(shown or _sealed(own, call, reach.principal)))
    return encode(found)


def _sealed(own: str, call: Call, principal: Principal) -> str:
    arguments = json.dumps(call.arguments)
    kept = arguments if len(arguments) <= ARGUMENTS_BYTES else ""
    task = Task(own, call.spec.id, call.target.name, kept)
    return keyring().seal(PURPOSE, msgspec.json.encode(task), _bound_to(principal))


def _opened(shown: Any, principal: Principal) -> Task | None:
    try:
        return msgspec.json.decode(keyring().open(PURPOSE, shown, _bound_to(principal)), type=Task)
    except (KeyringError, msgspec.MsgspecError, TypeError, AttributeError):
        return None


def _bound_to(principal: Principal) -> bytes:
    return f"{principal.id} {principal.org.id}".encode()
