"""Calls that a rule asks a person about: held, shown to those who approve, and let through once they do.

| client | is told |
|---|---|
| with URL elicitation | the page of the held call (`gateway.pages`); it comes again, or is told when it can |
| any other | nothing for a while but progress, if it wants that; then that the call waits, with the link |
"""

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Final

from django.db import Error as DatabaseFault
from msgspec.structs import replace

from audit.events import Kind
from audit.flood import Denials
from gateway.approved import ON_THE_WAY, Approved, asked_of
from gateway.dialogue import MAY_NEED_INPUT, Dialogue
from gateway.errors import Reason
from gateway.failures import NOT_STORED, Failure, unavailable
from gateway.pages import Page, Pages
from gateway.rounds import State
from gateway.run import Run, fail
from mcphub.core import aio, clock
from mcphub.core.limits import Limits
from policies.approvals import asking
from policies.approvals.asking import Answer
from policies.approvals.selectors import link_of
from policies.types import Decision
from upstreams.errors import Outcome

KIND: Final = "approve"
LOOK_S: Final = 0.5
PROGRESS: Final = "notifications/progress"
PROGRESS_S: Final = 5
FULL: Final = "Too many of your calls wait for an approval already."
TOO_LARGE: Final = "A rule asks a person about this call, and its arguments are too large to be shown to one."


class Anew(Exception):
    """Somebody answered while the client waited: the call is to be decided from the beginning."""


class Approving:
    """Bound to the pages and the record of this process's calls."""

    def __init__(self, dialogue: Dialogue, denials: Denials, pages: Pages, limits: Limits) -> None:
        self._dialogue = dialogue
        self._denials = denials
        self._pages = pages
        self._limits = limits
        self._watch = Watch(lambda id: pages.happened(_awaited(id)))
        pages.waits[KIND] = self._wait

    async def admit(self, run: Run, decision: Decision, state: State | None = None) -> Run | None:
        """The run, let through by a person; None when it is not, and its client has been told.

        Raises `Anew` after an answer that came while the client waited, `Unavailable`.
        """
        if run.call.method in ON_THE_WAY:
            return replace(run, intent=replace(run.intent, effect="allow"))
        if run.call.method not in MAY_NEED_INPUT:
            self._refuse(run, "approval_pending", "A rule asks a person about what this belongs to.")
            return None
        try:
            return await self._asked(run, decision, state)
        except DatabaseFault:
            raise unavailable(NOT_STORED, run.intent.call_id) from None

    async def _asked(self, run: Run, decision: Decision, state: State | None) -> Run | None:
        asked = asked_of(run.call, run.request.principal, decision, run.intent.call_id)
        if state is not None and (before := await self._goes_on(state, asked.digest)) is not None:
            return _through(run, Answer("go", before.id), before)
        answer: Answer = await aio.in_thread(asking.knock, asked)
        if answer.said == "go":
            return _through(run, answer, Approved(answer.id, asked.digest))
        await self._say(run, answer, state)
        return None

    @staticmethod
    async def _goes_on(state: State, digest: str) -> Approved | None:
        """The approval under which this very call is under way already; each of its rounds counts once."""
        before = state.approved
        if before is None or before.digest != digest:
            return None
        if not state.parked and not await aio.in_thread(asking.goes_on, before.id, before.digest, before.rounds):
            return None
        return replace(before, rounds=before.rounds + 1)

    async def give_back(self, run: Run) -> None:
        """The run that was let through could not be recorded, so it was not made."""
        if run.approved is not None and not run.approved.rounds:
            await aio.in_thread(asking.give_back, run.approved.id)

    async def stop(self) -> None:
        """Look for no more answers."""
        await self._watch.stop()

    async def _say(self, run: Run, answer: Answer, state: State | None) -> None:
        """Tell the client how its call stands. Raises `Anew`."""
        if answer.said == "wait":
            await self._hold(run, answer, state)
        elif answer.said == "denied":
            note = f": {answer.note}" if answer.note else ""
            self._refuse(run, "denied", f"{answer.by} denied this call{note}.".replace("..", "."))
        else:
            self._refuse(run, *(("approval_pending", FULL) if answer.said == "full" else ("too_large", TOO_LARGE)))

    async def _hold(self, run: Run, answer: Answer, state: State | None) -> None:
        told = {"approval": answer.id}
        if answer.new:
            await self._dialogue.record(replace(run.intent, kind=Kind.ASKED, details=told))
        elif state is None:
            self._denials.add(replace(run.intent, kind=Kind.DENIED, reason="it waits for an approval", details=told))
        target = run.call.target
        page = Page(
            link_of(run.request.principal.org.slug, answer.id),
            f"Somebody has to approve that {run.request.principal.label} calls {target.upstream}/{target.name}.",
            _awaited(answer.id),
        )
        pending = Failure("approval_pending", f"{page.message} {_reason(run)}".strip(), _effect(run), retryable=True)
        if self._pages.opens(run):
            if self._pages.turn(run, pending, page) is not None:
                self._watch.add(answer.id, self._limits.approval_s)
            return
        if state is None and await self._stay(run, answer.id, page.message):
            raise Anew
        run.failed(dataclasses.replace(pending, link=page.url))

    async def _stay(self, run: Run, id: str, message: str) -> bool:
        """Wait with the client for an answer, and let it know that the hub is alive; whether one came."""
        ends = clock.monotonic() + self._limits.approval_wait_s
        for steps in range(1, 10_000):
            left = ends - clock.monotonic()
            if await self._watch.wait(id, min(PROGRESS_S, max(left, 0))):
                return True
            if left <= PROGRESS_S:
                return False
            if run.request.progress_token is not None:
                run.reply.notify(PROGRESS, {"progress": steps, "message": message})
        return False

    async def _wait(self, which: str, since: float, within_s: float) -> None:
        await self._watch.wait(which, within_s)

    def _refuse(self, run: Run, reason: Reason, text: str) -> None:
        self._denials.add(replace(run.intent, kind=Kind.DENIED, reason=text))
        fail(run.request, run.reply, Failure(reason, text, _effect(run)), run.intent.call_id)


class Watch:
    """Which of the held calls that this process waits for were answered: one question to the database for all."""

    def __init__(self, answered: Callable[[str], object]) -> None:
        self._answered = answered
        self._until: dict[str, float] = {}
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, id: str, within_s: float) -> None:
        """Have `answered` called once it is, as long as `within_s` have not passed."""
        self._until[id] = max(self._until.get(id, 0), clock.monotonic() + within_s)
        if self._task is None or self._task.done():
            self._task = aio.spawn(self._look(), name="watch-approvals")

    async def wait(self, id: str, within_s: float) -> bool:
        """Whether it was answered within that time."""
        happened = asyncio.Event()
        self._waiting.setdefault(id, set()).add(happened)
        self.add(id, within_s)
        try:
            async with asyncio.timeout(within_s):
                await happened.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting[id].discard(happened)
            if not self._waiting[id]:
                del self._waiting[id]
        return True

    async def stop(self) -> None:
        """End looking."""
        if self._task is not None:
            await aio.cancel(self._task)

    async def _look(self) -> None:
        while self._until:
            for id in await self._found():
                self._until.pop(id, None)
                for event in self._waiting.get(id, ()):
                    event.set()
                self._answered(id)
            moment = clock.monotonic()
            self._until = {id: until for id, until in self._until.items() if until > moment}
            await asyncio.sleep(LOOK_S)

    async def _found(self) -> set[str]:
        try:
            return await aio.in_thread(asking.answered, list(self._until))
        except DatabaseFault:  # asked again in a moment
            return set()


def _through(run: Run, answer: Answer, approved: Approved) -> Run:
    by = f"approved by {answer.by}" if answer.by else "approved before"
    intent = replace(run.intent, effect="allow", reason=by, details={"approval": answer.id})
    return replace(run, intent=intent, approved=approved)


def _reason(run: Run) -> str:
    return f"The rule says: {run.intent.reason}." if run.intent.reason else ""


def _effect(run: Run) -> Outcome:
    return "unknown" if run.intent.kind is Kind.RESUMED else "not_sent"


def _awaited(id: str) -> str:
    return f"{KIND} {id}"
