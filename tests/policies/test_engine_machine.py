"""A policy that operators edit step by step: it always decides as a plain reading does, and its lists agree."""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policies.engine import RuleSet, decide, listing
from policies.types import CallRequest, Effect, Grant, Listing, RoleSpec, Rule
from tests.policies.build import ruleset
from tests.policies.test_engine_properties import (
    ARGUMENTS,
    by_the_book,
    grants,
    requests,
    role_specs,
    rules,
    same,
    with_arguments,
)

STRICT: dict[Effect, int] = {"deny": 0, "ask": 1, "allow": 2}


class Policy(RuleBasedStateMachine):
    """What operators do to rules, grants and roles, and what some callers are told of it."""

    def __init__(self) -> None:
        super().__init__()
        self.rules: dict[str, Rule] = {}
        self.grants: dict[tuple[str, str], Grant] = {}
        self.roles: dict[str, RoleSpec] = {}
        self.calls: list[CallRequest] = []
        self.made: RuleSet = ruleset()

    @initialize(calls=st.lists(requests, min_size=3, max_size=6))
    def callers(self, calls: list[CallRequest]) -> None:
        self.calls = calls

    def _edited(self) -> tuple[list[Effect], list[Effect]]:
        """Compile anew; the effects for all callers before and after."""
        before = self._effects()
        whole = tuple(self.rules.values())
        self.made = ruleset(*whole, grants=tuple(self.grants.values()), roles=tuple(self.roles.values()), clean=False)
        return before, self._effects()

    def _effects(self) -> list[Effect]:
        return [decide(self.made, call).effect for call in self.calls]

    @rule(made=rules)
    def add_a_rule(self, made: Rule) -> None:
        if made.id in self.rules:
            return
        self.rules[made.id] = made
        before, after = self._edited()
        if made.effect == "deny":
            assert all(new in ("deny", old) for old, new in zip(before, after, strict=True))
        if made.effect == "allow":
            assert all(new in ("allow", old) for old, new in zip(before, after, strict=True))

    @precondition(lambda self: self.rules)
    @rule(data=st.data())
    def remove_a_rule(self, data: st.DataObject) -> None:
        gone = self.rules.pop(data.draw(st.sampled_from(sorted(self.rules))))
        before, after = self._edited()
        if gone.effect == "allow":
            assert all(old == new or old == "allow" for old, new in zip(before, after, strict=True))
        if gone.effect == "deny":
            assert all(old == new or old == "deny" for old, new in zip(before, after, strict=True))

    @precondition(lambda self: self.rules)
    @rule(data=st.data())
    def switch_a_rule_off_and_on(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.rules)))
        before = self._effects()
        for _ in range(2):
            self.rules[name] = replace(self.rules[name], enabled=not self.rules[name].enabled)
            self._edited()
        assert self._effects() == before

    @precondition(lambda self: self.rules)
    @rule(data=st.data(), effect=st.sampled_from(list(STRICT)))
    def change_the_effect_of_an_unconditional_rule(self, data: st.DataObject, effect: Effect) -> None:
        name = data.draw(st.sampled_from(sorted(self.rules)))
        old = self.rules[name]
        alone = sum(other.priority == old.priority for other in self.rules.values()) == 1
        self.rules[name] = replace(old, effect=effect)
        before, after = self._edited()
        if alone and not old.condition:
            stricter = STRICT[effect] <= STRICT[old.effect]
            for one, other in zip(before, after, strict=True):
                assert (STRICT[other] <= STRICT[one]) if stricter else (STRICT[other] >= STRICT[one])

    @rule(made=grants)
    def set_a_grant(self, made: Grant) -> None:
        self.grants[made.role, made.upstream] = made
        self._edited()

    @rule(made=role_specs)
    def set_a_role(self, made: RoleSpec) -> None:
        self.roles[made.name] = made
        self._edited()

    @invariant()
    def it_decides_as_a_plain_reading_does(self) -> None:
        policy: Any = (tuple(self.rules.values()), tuple(self.grants.values()), tuple(self.roles.values()))
        for call in self.calls:
            assert same(decide(self.made, call), *by_the_book(policy, call))

    @invariant()
    def lists_show_what_can_be_called(self) -> None:
        for call in self.calls:
            effects = {decide(self.made, with_arguments(call, value)).effect for value in ARGUMENTS}
            if listing(self.made, call) == Listing.HIDDEN:
                assert effects == {"deny"}


Policy.TestCase.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
TestPolicy = Policy.TestCase
