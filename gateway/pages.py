"""Calls that need a person to open a page of the hub first: to connect an account, to approve.

| client | is told |
|---|---|
| modern, with URL elicitation | `input_required` with the page; its retry begins afresh and is decided anew |
| 2025-11-25, with URL elicitation | error -32042 with the page, and `notifications/elicitation/complete` afterwards |
| any other | a result that has not been, with the link in its text |
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.dialogue import MAY_NEED_INPUT, URL_REQUIRED, Dialogue
from gateway.failures import Failure
from gateway.rounds import State, refusal_of
from gateway.run import Ended, Run
from mcphub.core.ids import new_uuid
from upstreams.errors import RpcError

KNOWS_PAGES: Final = "2025-11-25"
COMPLETED: Final = "notifications/elicitation/complete"
MOST_TOLD: Final = 10_000
ANY_PAGE: Final = {"method": "elicitation/create", "params": {"mode": "url"}}

Push = Callable[[str, str, Mapping[str, Any]], object]
"""Session id, method, parameters."""

Wait = Callable[[str, float, float], Awaitable[object]]
"""What of its kind is awaited, since when (seconds since 1970), for how many seconds at most."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the hub for one person. `message` tells them why; `url` is bound to them and ends by itself.

    `awaits` says what has to happen: a kind, a blank, and which (`Pages.waits`, `Pages.happened`).
    """

    url: str
    message: str
    awaits: str


class Pages:
    """Bound to the dialogue of this process's calls. `waits` says by kind how a retry waits for what was awaited."""

    def __init__(self, dialogue: Dialogue, wait_s: float) -> None:
        self.waits: Final[dict[str, Wait]] = {}
        self.push: Push = _nobody
        self._dialogue = dialogue
        self._wait_s = wait_s
        self._told: OrderedDict[str, dict[str, str]] = OrderedDict()

    def turn(self, run: Run, failure: Failure, page: Page) -> Ended | None:
        """Send the person of this call to the page; how the call ended, or None when its client comes again."""
        if not self.opens(run):
            return run.failed(replace(failure, link=page.url))
        question = {"mode": "url", "elicitationId": new_uuid().hex, "url": page.url, "message": page.message}
        asked = {"method": "elicitation/create", "params": question}
        if run.request.era == "modern":
            self._dialogue.ask(run, {"page": asked}, self._state(run, page))
            return None
        return self._required(run, failure, page, question)

    def opens(self, run: Run) -> bool:
        """Whether the client of this call can be asked to open a page, and takes part in what follows."""
        request = run.request
        if refusal_of(ANY_PAGE, run.reach.client.capabilities) is not None:
            return False
        if request.era == "modern":
            return request.method in MAY_NEED_INPUT
        return request.revision == KNOWS_PAGES

    async def wait(self, state: State) -> None:
        """What the call of this state waits for, for a while: the person may still be at it."""
        kind, _, which = state.awaits.partition(" ")
        if (wait := self.waits.get(kind)) is not None:
            await wait(which, state.asked_at, self._wait_s)

    def happened(self, awaits: str) -> None:
        """Tell the sessions of this process that were sent to such a page."""
        for elicitation, session in self._told.pop(awaits, {}).items():
            self.push(session, COMPLETED, {"elicitationId": elicitation})

    def _state(self, run: Run, page: Page) -> State:
        return State(
            run.intent.call_id,
            upstream_id=run.call.spec.id,
            afresh=True,
            awaits=page.awaits,
            asked_at=time.time(),
        )

    def _required(self, run: Run, failure: Failure, page: Page, question: Mapping[str, Any]) -> Ended:
        if run.request.session is not None:
            self._told.setdefault(page.awaits, {})[str(question["elicitationId"])] = run.request.session.id
            if len(self._told) > MOST_TOLD:
                self._told.popitem(last=False)
        data = {"elicitations": [question], "mcphub/error": failure.facts(run.intent.call_id)}
        run.reply.error(RpcError(URL_REQUIRED, page.message, data))
        return {"outcome": failure.outcome, "reason": failure.reason}


def _nobody(session_id: str, method: str, params: Mapping[str, Any]) -> None:
    return None
