"""Admin pages of roles, grants and rules."""

from policies.pages.grant import GrantAdmin
from policies.pages.mapping import AttributeMappingAdmin
from policies.pages.role import RoleAdmin
from policies.pages.rule import RuleAdmin

__all__ = ["AttributeMappingAdmin", "GrantAdmin", "RoleAdmin", "RuleAdmin"]
