"""The pages of grants: what each role reaches on each upstream."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from mcphub.accounts.admin_base import pill
from mcphub.accounts.visitor import orgs_allowing
from policies.forms import GrantForm
from policies.models import Grant
from policies.pages.base import PolicyAdmin


@admin.register(Grant)
class GrantAdmin(PolicyAdmin):
    form = GrantForm
    list_display = ("upstream", "role", "org", "reach", "switched")
    list_filter = ("org", "upstream", "role", "access")
    list_select_related = ("org", "role", "upstream")
    search_fields = ("role__name", "upstream__slug")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Single switches need an upstream, so they come with the second visit."""
        return ("org", "role", "upstream", "access") if obj is None else ("role", "upstream", "access", "tools")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return () if obj is None else ("role", "upstream")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        found = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name != "org" and len(orgs_allowing(request, self.required_right)) > 1:
            found.queryset = found.queryset.select_related("org")
            found.label_from_instance = lambda row: f"{row.org} / {row}"
        return found

    @pill("Access", {"Nothing": "warning", "Read-only": "info", "Everything": "success", "Custom": "info"})
    def reach(self, grant: Grant) -> str:
        return {"none": "Nothing", "read-only": "Read-only", "all": "Everything", "custom": "Custom"}[grant.access]

    @admin.display(description="Single switches")
    def switched(self, grant: Grant) -> str:
        states = [on for names in grant.tools.values() for on in names.values()]
        return f"{sum(states)} on, {len(states) - sum(states)} off" if states else "–"
