"""Whether a rule takes everything away from a role. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from policies.compiler import rule_entry
from policies.engine import RuleSet, listings
from policies.types import CallRequest, Listing, Rule, Target


def emptied_roles(
    rule: Rule, before: RuleSet, after: RuleSet, targets: Sequence[Target], roles: Iterable[str]
) -> list[str]:
    """The roles that, held alone, reach something without the rule and nothing with it."""
    entry = rule_entry(rule, [])
    if entry is None or not rule.enabled or rule.effect != "deny":
        return []
    touched = [target for target in targets if entry.matches_target(target)]
    if not touched:
        return []
    others = [target for target in targets if not entry.matches_target(target)]
    return [
        role
        for role in roles
        if entry.roles.match(role)
        and not any(_shown(after, role, others))
        and any(_shown(before, role, touched))
        and not any(_shown(after, role, touched))
    ]


def _shown(ruleset: RuleSet, role: str, targets: Sequence[Target]) -> Iterator[bool]:
    if targets:
        alone = CallRequest(targets[0], frozenset({role}), principal={"roles": [role], "attributes": {}})
        yield from (found is Listing.SHOWN for found in listings(ruleset, alone, targets))
