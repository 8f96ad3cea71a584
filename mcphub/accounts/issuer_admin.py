"""The admin page of issuers of tokens."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextareaWidget

from mcphub.accounts.admin_base import OrgScopedAdmin, request_rights
from mcphub.accounts.admin_forms import GlobsField, RolesField, RolesForm
from mcphub.accounts.models import ALGORITHMS, Issuer
from mcphub.accounts.roles import Right, givable_roles


class RequiredField(forms.JSONField):
    """Claims and the texts of which each must hold one."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"})
    empty_values = (None, "")

    def clean(self, value: Any) -> Any:
        return super().clean(value) or {}


class IssuerForm(RolesForm):
    """Whose tokens are taken, and what they give."""

    audiences = GlobsField(help_text="One of them must be in the token's aud. Comma-separated.")
    algorithms = forms.MultipleChoiceField(
        choices=[(name, name) for name in ALGORITHMS], widget=UnfoldAdminCheckboxSelectMultipleWidget
    )
    required = RequiredField(
        required=False, help_text='Claims that must be there, as {"azp": ["my-client"]}. Empty: none but the usual.'
    )
    roles = RolesField(
        required=False, help_text="What every token of this issuer gives. Attribute mappings give more by claims."
    )

    class Meta:
        model = Issuer
        fields = ("org", "name", "issuer", "audiences", "algorithms", "required", "roles", "advertised", "enabled")
        help_texts = {
            "name": "2–32 lower-case letters, digits and inner hyphens; mappings call it so.",
            "issuer": "Exactly as iss in its tokens: https://login.example.org. Its keys are found by discovery.",
            "advertised": "The metadata of /mcp/{org} names it, so that clients get their tokens there.",
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        org_id = self.org_id()
        held = self.rights.get(org_id, frozenset())
        beyond = sorted(frozenset(cleaned.get("roles", ())) - givable_roles(org_id, held)) if org_id else []
        if beyond and "roles" not in self.errors:
            self.add_error("roles", f"You hold less than: {', '.join(beyond)}.")
        return cleaned


@admin.register(Issuer)
class IssuerAdmin(OrgScopedAdmin):
    """For those who manage members: a token lets somebody in."""

    required_right = Right.MANAGE_MEMBERS
    form = IssuerForm
    list_display = ("name", "org", "issuer", "audience_list", "role_list", "enabled")
    list_filter = ("org", "enabled")
    list_select_related = ("org",)
    search_fields = ("name", "issuer")
    fields = ("name", "org", "issuer", "audiences", "algorithms", "required", "roles", "advertised", "enabled")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        rights = {org: held for org, held in request_rights(request).items() if self.required_right in held}
        return type(form.__name__, (form,), {"rights": rights})

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody touches an issuer whose tokens get more than they may give."""
        row = self.get_object(request, obj) if isinstance(obj, str) else obj
        if row is None or not super().has_change_permission(request, row):
            return row is None and obj is None and super().has_change_permission(request)
        org_id = str(row.org_id)
        known = frozenset(row.roles) & givable_roles(org_id, Right)
        return known <= givable_roles(org_id, request_rights(request)[org_id])

    @admin.display(description="Audiences")
    def audience_list(self, row: Issuer) -> str:
        return ", ".join(row.audiences)

    @admin.display(description="Roles")
    def role_list(self, row: Issuer) -> str:
        return ", ".join(row.roles) or "by mappings"
