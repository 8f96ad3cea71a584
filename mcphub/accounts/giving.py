"""Admin pages of what gives roles: nobody gives, or touches what gives, a role with more rights than they hold."""

from typing import Any

from django.http import HttpRequest

from mcphub.accounts.admin_base import OrgScopedAdmin
from mcphub.accounts.admin_forms import RolesForm
from mcphub.accounts.roles import Right, givable_roles
from mcphub.accounts.visitor import request_rights


class GivingForm(RolesForm):
    """Stricter than `RolesForm`: roles that stood there before count too, for they are given on by saving."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        org_id = self.org_id()
        held = self.rights.get(org_id, frozenset())
        beyond = sorted(frozenset(cleaned.get("roles", ())) - givable_roles(org_id, held)) if org_id else []
        if beyond and "roles" not in self.errors:
            self.add_error("roles", f"You hold less than: {', '.join(beyond)}.")
        return cleaned


class GivingAdmin(OrgScopedAdmin):
    """Rows with `roles`, for those who manage members. Roles that are no longer known hold nobody back."""

    required_right = Right.MANAGE_MEMBERS
    list_select_related = ("org",)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        rights = {org: held for org, held in request_rights(request).items() if self.required_right in held}
        return type(form.__name__, (form,), {"rights": rights})

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        row = self.get_object(request, obj) if isinstance(obj, str) else obj
        if row is None or not super().has_change_permission(request, row):
            return row is None and obj is None and super().has_change_permission(request)
        org_id = str(row.org_id)
        known = frozenset(row.roles) & givable_roles(org_id, Right)
        return known <= givable_roles(org_id, request_rights(request)[org_id])
