"""The pages of roles: what each may do here and reach there, and who holds it."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html_join

from mcphub.accounts.admin_base import pill
from mcphub.accounts.visitor import request_rights
from policies.forms import RoleForm, rights_of_role
from policies.models import Role
from policies.pages.base import PolicyAdmin
from policies.selectors import held_by

REACH_COLOURS = {"Nothing": "warning", "Read-only": "info", "Everything": "success"}
REACH = {"none": "Nothing", "read-only": "Read-only", "all": "Everything"}


@admin.register(Role)
class RoleAdmin(PolicyAdmin):
    form = RoleForm
    list_display = ("name", "org", "kind", "reach", "grant_count", "holders", "rights_here")
    list_filter = ("org",)
    list_select_related = ("org",)
    search_fields = ("name",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ("org", "name", "auto_grant", "rights")
        return ("name", "org", "holders", "auto_grant", "rights_here" if obj.builtin else "rights")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else ("name", "org", "holders", "rights_here")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        return type(form.__name__, (form,), {"held": request_rights(request)})

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Built-in roles stay, and so do roles that somebody holds: a later role of that name would be theirs."""
        if isinstance(obj, Role) and (obj.builtin or any(held_by(obj))):
            return False
        return super().has_delete_permission(request, obj)

    @pill("Kind", {"built in": "info", "own": "success"})
    def kind(self, role: Role) -> str:
        return "built in" if role.builtin else "own"

    @pill("Reaches", REACH_COLOURS)
    def reach(self, role: Role) -> str:
        return REACH[role.auto_grant]

    @admin.display(description="Grants")
    def grant_count(self, role: Role) -> int:
        return role.grants.count()

    @admin.display(description="Held by")
    def holders(self, role: Role) -> str:
        members, keys = held_by(role)
        return f"{members} member{'s' * (members != 1)}, {keys} key{'s' * (keys != 1)}"

    @admin.display(description="Rights in the hub")
    def rights_here(self, role: Role) -> Any:
        return format_html_join(", ", "{}", ((label,) for label in rights_of_role(role))) or "–"
