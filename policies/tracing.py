"""Why a call is decided as it is, line by line, for people. Pure; walks every rule, so not for the call path."""

from collections.abc import Iterator

from policies.conditions import Evaluation
from policies.engine import RuleSet, judge
from policies.index import Entry
from policies.types import CallRequest, TraceLine


def trace(ruleset: RuleSet, request: CallRequest) -> tuple[TraceLine, ...]:
    """The lines that speak of the target and why they did not match, down to the one that decides."""
    return tuple(_lines(ruleset, request))


def reads_arguments(ruleset: RuleSet, request: CallRequest) -> bool:
    """Whether the outcome for this caller and target may depend on arguments."""
    conditions = (entry.condition for entry in ruleset.plan(request).conditional)
    return any(one is not None and one.reads_arguments for one in conditions)


def _lines(ruleset: RuleSet, request: CallRequest) -> Iterator[TraceLine]:
    evaluation = Evaluation(request, ruleset.limits)
    for entry in ruleset.entries:
        if not _is_near(entry, request):
            continue
        missed = _missed(entry, request)
        line = TraceLine(entry.id, entry.name, False, missed) if missed else judge(entry, evaluation, request)
        yield line
        if line.matched:
            return


def _is_near(entry: Entry, request: CallRequest) -> bool:
    """Rules about this name on this upstream, and what grants say to the caller's own roles."""
    target = request.target
    if target.kind not in entry.kinds or not entry.upstreams.match(target.upstream):
        return False
    if entry.source == "rule":
        return entry.tools.match(target.name)
    return target.upstream not in entry.outside and entry.roles.match_one(request.roles)


def _missed(entry: Entry, request: CallRequest) -> str:
    target = request.target
    if not entry.roles.match_one(request.roles):
        return "it is for other roles"
    if not entry.applications.match(request.application):
        return f"it is for other applications than {request.application or 'an unnamed one'}"
    if entry.switches.get((target.kind, target.name)) is False:
        return f"{entry.reason}, but this is switched off there"
    if not entry.matches_target(target):
        return (
            f"{entry.reason}, but this is {target.risk}"
            if entry.source == "grant"
            else f"it is not for {target.risk}"
        )
    return ""
