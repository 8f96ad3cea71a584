"""Policy tests: calls with the effect that they must have, as a part of the configuration document.

They are judged against the org as the document leaves it, before anything of it takes effect: one that fails stops
the whole, and says which rule decided otherwise.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mcphub.accounts.declared.sections import Fault
from mcphub.accounts.models import Org
from mcphub.accounts.selectors import principal_named
from mcphub.core.principal import OrgRef, Principal
from policies import selectors
from policies.engine import RuleSet, Switches, decide, gate
from policies.facts import principal_facts, request_for
from policies.service import compile_org
from policies.types import Decision, Risk, Target
from upstreams.models import Definition, Upstream

MOST: Final = 10_000


class Case(BaseModel):
    """One call. `principal` is a member's e-mail or a key's name; else `roles` and `attributes` say who calls.

    `tool` is `upstream/name`, or a public name that is listed; `risk` is needed where nobody has seen the tool yet.
    `client` is what the program says of itself, `rule` the name of the rule that must decide.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = ""
    tool: str
    expect: Literal["allow", "deny", "ask"]
    kind: Literal["tool", "prompt", "resource", "template"] = "tool"
    principal: str = ""
    roles: list[str] = Field(default_factory=list)
    attributes: dict[str, Any] = Field(default_factory=dict)
    application: str = ""
    client: dict[str, Any] = Field(default_factory=dict)
    arguments: dict[str, Any] = Field(default_factory=dict)
    risk: Literal["", "read", "write", "external", "destructive", "admin"] = ""
    rule: str = ""


def check_cases(org: Org, given: Any) -> Iterable[Fault]:
    """What is wrong with the tests, and those that fail."""
    if not isinstance(given, list) or len(given) > MOST:
        return [Fault("", f"must be a list of at most {MOST} cases")]
    compiled = compile_org(org.pk)
    faults = [Fault("", f"the policy does not compile: {problem}") for problem in compiled.problems]
    return faults or list(_judged(org, given, compiled.ruleset))


def _judged(org: Org, given: list[Any], ruleset: RuleSet) -> Iterator[Fault]:
    known = {
        (row.upstream.slug, row.kind, row.name): row
        for row in Definition.objects.for_org(org).select_related("upstream", "current")
    }
    for number, each in enumerate(given):
        try:
            case = Case.model_validate(each)
        except ValidationError as error:
            for part in error.errors():
                place = ".".join(map(str, (number, *part["loc"])))
                yield Fault(f".{place}", part["msg"])
            continue
        name = f" “{case.name}”" if case.name else ""
        yield from (Fault(f".{number}", f"the test{name} {text}") for text in _failures(org, case, ruleset, known))


def _failures(
    org: Org, case: Case, ruleset: RuleSet, known: Mapping[tuple[str, str, str], Definition]
) -> Iterator[str]:
    principal = _principal(org, case)
    if principal is None:
        yield f"names {case.principal}, who is no member and no working key of {org.slug}"
        return
    row = _row(case, known)
    target = selectors.target_of(row) if row is not None else _unseen(org, case)
    if target is None:
        yield f"names {case.tool}, which nobody has seen: write UPSTREAM/NAME and its “risk”"
        return
    decision = _decision(org, case, ruleset, principal, target, row)
    rule = next((entry.name for entry in ruleset.entries if entry.id == decision.rule), decision.rule)
    by = f"rule “{rule}”" if rule else "the default"
    if decision.effect != case.expect:
        yield f"expects {case.expect}, but {by} says {decision.effect}: {decision.reason}"
    elif case.rule and case.rule != rule:
        yield f"expects the rule “{case.rule}” to decide, but {by} does"


def _principal(org: Org, case: Case) -> Principal | None:
    if case.principal:
        return principal_named(org.pk, case.principal)
    place = OrgRef(str(org.pk), org.slug)
    roles = frozenset(case.roles)
    return Principal("case", "person", "case", place, roles, application=case.application, attributes=case.attributes)


def _row(case: Case, known: Mapping[tuple[str, str, str], Definition]) -> Definition | None:
    slug, _, name = case.tool.partition("/")
    found = known.get((slug, case.kind, name))
    public = (row for (_, kind, _), row in known.items() if kind == case.kind and row.public_name == case.tool)
    return found or next(public, None)


def _unseen(org: Org, case: Case) -> Target | None:
    slug, _, name = case.tool.partition("/")
    there = name and Upstream.objects.for_org(org).filter(slug=slug).exists()
    return Target(case.kind, slug, name, Risk(case.risk)) if there and case.risk else None


def _decision(
    org: Org, case: Case, ruleset: RuleSet, principal: Principal, target: Target, row: Definition | None
) -> Decision:
    if case.risk:
        target = Target(target.kind, target.upstream, target.name, Risk(case.risk))
    if row is not None:
        switches = Switches(org.enabled, row.upstream.enabled, row.enabled, row.held)
        if closed := gate(target, principal.scope, switches):
            return closed
    request = request_for(
        principal,
        target,
        facts=principal_facts(principal),
        client=case.client,
        arguments=lambda: case.arguments,
    )
    return decide(ruleset, request)
