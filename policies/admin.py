"""Admin pages of roles, grants, rules and replays."""

from policies.pages.grant import GrantAdmin
from policies.pages.replay import ReplayAdmin
from policies.pages.role import RoleAdmin
from policies.pages.rule import RuleAdmin

__all__ = ["GrantAdmin", "ReplayAdmin", "RoleAdmin", "RuleAdmin"]
