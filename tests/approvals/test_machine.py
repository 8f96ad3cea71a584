"""Whatever callers, approvers and time do: a call runs at most once per approval, and never otherwise."""

import uuid
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mcphub.accounts import services
from mcphub.accounts.acts import Actor
from mcphub.core import clock
from mcphub.core.principal import OrgRef, Principal
from policies.approvals import answering, asking, selectors, tending
from policies.approvals.asking import Asked
from policies.models import CallApproval
from policies.types import Risk, Target

NAMES = ("ann", "bob")
WORDS = ("x", "y")
TOOLS = ("mark", "wipe")
RULES = ("r1", "r2")
ANY = st.sampled_from
HOUR = timedelta(hours=1)


class Machine(RuleBasedStateMachine):
    """The model: which approvals were given for which call, and until when; the hub must never say go beyond them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = clock.now()
        self.org = services.create_org(f"org-{uuid.uuid4().hex[:12]}")
        self.once: dict[tuple[str, str, str], Any] = {}
        self.lasting: dict[tuple[str, str, str], Any] = {}
        self.denied: dict[tuple[str, str, str], Any] = {}
        self.people = {name: str(uuid.uuid4()) for name in NAMES}
        modules = (asking, answering, selectors, tending)
        self.patches = [patch.object(module, "now", lambda: self.now) for module in modules]
        for each in self.patches:
            each.start()

    def teardown(self) -> None:
        for each in self.patches:
            each.stop()

    def asked(self, name: str, tool: str, word: str, rule: str) -> Asked:
        person, place = self.people[name], OrgRef(str(self.org.pk), self.org.slug)
        who = Principal(f"user:{person}", "person", name, place, frozenset(), user_id=person)
        target = Target("tool", "up", tool, Risk.WRITE)
        return Asked(uuid.uuid4().hex, who, "tools/call", "up", target, rule, "", {"word": word})

    def held(self) -> list[CallApproval]:
        return list(CallApproval.objects.for_org(self.org).filter(state="waiting").order_by("asked_at"))

    @rule(name=ANY(NAMES), tool=ANY(TOOLS), word=ANY(WORDS), by=ANY(RULES))
    def call(self, name: str, tool: str, word: str, by: str) -> None:
        answer = asking.knock(self.asked(name, tool, word, by))
        exact = (name, tool, word)
        if self.lasting.get((name, tool, by), self.now) > self.now or self.once.pop(exact, self.now) > self.now:
            assert answer.said == "go"
        elif self.denied.get(exact, self.now) > self.now:
            assert answer.said == "denied"
        else:
            assert answer.said == "wait"

    @precondition(lambda self: self.held())
    @rule(at=st.integers(0, 50), seconds=st.sampled_from([0, 900, 3600]))
    def approve(self, at: int, seconds: int) -> None:
        row = self.held()[at % len(self.held())]
        if row.ends_at <= self.now:
            with pytest.raises(answering.Refused):
                answering.approve(row, by=Actor("boss", str(uuid.uuid4())), seconds=seconds)
            return
        answering.approve(row, by=Actor("boss", str(uuid.uuid4())), seconds=seconds)
        if seconds:
            self.lasting[row.principal, row.name, row.rule] = self.now + timedelta(seconds=seconds)
        else:
            self.once[row.principal, row.name, row.arguments["word"]] = self.now + HOUR

    @precondition(lambda self: self.held())
    @rule(at=st.integers(0, 50))
    def approve_own(self, at: int) -> None:
        row = self.held()[at % len(self.held())]
        with pytest.raises(answering.Refused):
            answering.approve(row, by=Actor(row.principal, str(row.person)))

    @precondition(lambda self: self.held())
    @rule(at=st.integers(0, 50))
    def deny(self, at: int) -> None:
        row = self.held()[at % len(self.held())]
        if row.ends_at > self.now:
            answering.deny(row, by=Actor("boss", str(uuid.uuid4())))
            self.denied[row.principal, row.name, row.arguments["word"]] = self.now + HOUR

    @rule(at=st.integers(0, 50))
    def revoke(self, at: int) -> None:
        rows = list(selectors.standing(self.org))
        if rows:
            row = rows[at % len(rows)]
            answering.revoke(row, by=Actor("boss"))
            if row.lasting:
                self.lasting.pop((row.principal, row.name, row.rule), None)
            else:
                self.once.pop((row.principal, row.name, row.arguments["word"]), None)

    @rule(minutes=st.sampled_from([1, 20, 61]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def tended(self) -> None:
        tending.tend()

    @invariant()
    def one_row_waits_per_call(self) -> None:
        rows = self.held()
        assert len({(row.principal_id, row.digest) for row in rows}) == len(rows)


Machine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.django_db
class TestMachine(Machine.TestCase):  # type: ignore[misc,name-defined]  # made by the library
    pass
