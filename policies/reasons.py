"""Why a call is decided as it is: a closed list, each with what would change it and whose right that takes. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from mcphub.accounts.roles import Right


class Why(StrEnum):
    """The reason behind a decision."""

    RULE_ALLOWS = "rule_allows"
    GRANT_ALLOWS = "grant_allows"
    RULE_DENIES = "rule_denies"
    RULE_ASKS = "rule_asks"
    CANNOT_EVALUATE = "cannot_evaluate"
    CANNOT_READ = "cannot_read"
    NOTHING_ALLOWS = "nothing_allows"
    ORG_DISABLED = "org_disabled"
    UPSTREAM_DISABLED = "upstream_disabled"
    DEFINITION_DISABLED = "definition_disabled"
    HELD = "held"
    OUT_OF_SCOPE = "out_of_scope"
    RATE_LIMITED = "rate_limited"
    SET_BY_OPERATOR = "set_by_operator"


CHANGED_WITH: Final[Mapping[Why, Right]] = {
    **dict.fromkeys(Why, Right.MANAGE_POLICY),
    Why.RULE_ASKS: Right.APPROVE,
    Why.ORG_DISABLED: Right.MANAGE_ORG,
    Why.UPSTREAM_DISABLED: Right.MANAGE_UPSTREAMS,
    Why.DEFINITION_DISABLED: Right.MANAGE_UPSTREAMS,
    Why.HELD: Right.MANAGE_UPSTREAMS,
    Why.OUT_OF_SCOPE: Right.MANAGE_KEYS,
    Why.SET_BY_OPERATOR: Right.MANAGE_UPSTREAMS,
}

NEEDED: Final[Mapping[Why, str]] = {
    Why.RULE_ALLOWS: "",
    Why.GRANT_ALLOWS: "",
    Why.RULE_DENIES: "Another call, one that the rule does not speak of; or the rule is changed.",
    Why.RULE_ASKS: "A person approves exactly this call; or the rule is changed.",
    Why.CANNOT_EVALUATE: "A call for which the rule's condition can be evaluated; or the condition is changed.",
    Why.CANNOT_READ: "The rule's condition is written so that it can be read.",
    Why.NOTHING_ALLOWS: "A rule or grant that allows it.",
    Why.ORG_DISABLED: "The org is switched on.",
    Why.UPSTREAM_DISABLED: "The upstream is switched on.",
    Why.DEFINITION_DISABLED: "It is switched on at its upstream.",
    Why.HELD: "Somebody approves its changed definition.",
    Why.OUT_OF_SCOPE: "A key with a wider scope.",
    Why.RATE_LIMITED: "Waiting; or the limit is raised.",
    Why.SET_BY_OPERATOR: "The argument is left out; or it is no longer set.",
}
