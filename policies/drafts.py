"""Drafts of rules as people write them: in the form, over the API, in a YAML file."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import ValidationError

from mcphub.accounts.models import Org
from policies.comparing import Draft
from policies.models import Rule

FIELDS: Final = ("name", "effect", "priority", *Rule.LISTS, "condition", "reason", "enabled")
MAX_RULES: Final = 1_000


class BadDraft(ValueError):
    """The draft cannot be tried; the message names the rule and says what is wrong."""


def values_of(row: Rule) -> dict[str, Any]:
    """A rule as it stands in the API and in files."""
    return {name: getattr(row, name) for name in FIELDS}


def draft_of(org: Org, document: Any) -> Draft:
    """The draft that `{"put": [rule, …], "remove": [name, …]}` describes. Raises `BadDraft`."""
    if not isinstance(document, dict) or not document.keys() <= {"put", "remove"}:
        raise BadDraft('Write {"put": [rules], "remove": [names]}.')
    put, remove = document.get("put") or [], document.get("remove") or []
    if not isinstance(put, list) or not isinstance(remove, list) or len(put) + len(remove) > MAX_RULES:
        raise BadDraft(f"`put` and `remove` are lists of {MAX_RULES} entries at most.")
    _check_removed(org, remove)
    ids = dict(Rule.objects.for_org(org).values_list("name", "pk"))
    rows = [_row(org, values, at) for at, values in enumerate(put)]
    for row in rows:
        row.pk = ids.get(row.name, row.pk)
    return Draft(tuple(row.spec() for row in rows), frozenset(remove))


def _check_removed(org: Org, names: Sequence[Any]) -> None:
    known = set(Rule.objects.for_org(org).values_list("name", flat=True))
    for name in names:
        if name not in known:
            raise BadDraft(f"There is no rule {name!r} to remove.")


def _row(org: Org, values: Any, at: int) -> Rule:
    if not isinstance(values, Mapping):
        raise BadDraft(f"Rule {at + 1} is not an object.")
    unknown = [name for name in values if name not in FIELDS]
    if unknown:
        raise BadDraft(f"Rule {at + 1}: unknown {', '.join(map(repr, unknown))}.")
    row = Rule(org=org, **values)
    try:
        row.full_clean(exclude=("id", "org"), validate_unique=False, validate_constraints=False)
    except ValidationError as fault:
        faults = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in fault.message_dict.items())
        raise BadDraft(f"Rule {row.name or at + 1!r}: {faults}") from None
    except (TypeError, AttributeError):
        raise BadDraft(f"Rule {at + 1} has values of the wrong kind.") from None
    return row
