"""The admin page of issuers of tokens."""

from typing import Any

from django import forms
from django.contrib import admin
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextareaWidget

from mcphub.accounts.admin_forms import GlobsField, RolesField
from mcphub.accounts.giving import GivingAdmin, GivingForm
from mcphub.accounts.models import ALGORITHMS, Issuer


class RequiredField(forms.JSONField):
    """Claims and the texts of which each must hold one."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"})
    empty_values = (None, "")

    def clean(self, value: Any) -> Any:
        return super().clean(value) or {}


class IssuerForm(GivingForm):
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


@admin.register(Issuer)
class IssuerAdmin(GivingAdmin):
    """For those who manage members: a token lets somebody in."""

    form = IssuerForm
    list_display = ("name", "org", "issuer", "audience_list", "role_list", "enabled")
    list_filter = ("org", "enabled")
    search_fields = ("name", "issuer")
    fields = ("name", "org", "issuer", "audiences", "algorithms", "required", "roles", "advertised", "enabled")

    @admin.display(description="Audiences")
    def audience_list(self, row: Issuer) -> str:
        return ", ".join(row.audiences)

    @admin.display(description="Roles")
    def role_list(self, row: Issuer) -> str:
        return ", ".join(row.roles) or "by mappings"
