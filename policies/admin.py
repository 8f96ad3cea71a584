"""Admin pages of roles, grants, rules, rate limits, replays, toolsets and approvals."""

from policies.pages.approvals import ApprovalSettingsAdmin
from policies.pages.grant import GrantAdmin
from policies.pages.mapping import AttributeMappingAdmin
from policies.pages.rate import RateLimitAdmin
from policies.pages.replay import ReplayAdmin
from policies.pages.role import RoleAdmin
from policies.pages.rule import RuleAdmin
from policies.pages.toolset import ToolsetAdmin

__all__ = [
    "ApprovalSettingsAdmin",
    "AttributeMappingAdmin",
    "GrantAdmin",
    "RateLimitAdmin",
    "ReplayAdmin",
    "RoleAdmin",
    "RuleAdmin",
    "ToolsetAdmin",
]
