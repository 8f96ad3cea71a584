"""The hub as a client of authorization servers: entered by operators for a domain, or registered by itself."""

import re
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextareaWidget

from mcphub.accounts.admin_base import OneOrgForm, OrgScopedAdmin
from mcphub.accounts.roles import Right
from mcphub.core.keyring import KeyringError
from upstreams.formfields import MASK
from upstreams.models import OAuthRegistration
from upstreams.oauthform import choice_field, text_field
from upstreams.pages.recorded import dash
from upstreams.serversfile import url_fault

SECRETS: Final = ("client_secret", "private_key")
DOMAIN: Final = re.compile(r"\A[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z")
Origin = OAuthRegistration.Origin


class OAuthClientForm(OneOrgForm):
    """A client that an operator registered at an authorization server. Secrets go in and never come out."""

    client_secret = text_field("Client secret", "A stored one stays hidden; empty the field to remove it.")
    private_key = forms.CharField(
        required=False,
        label="Private key (PEM)",
        help_text="In place of a secret. A stored one stays hidden; empty the field to remove it.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
    )
    auth_method = choice_field("token_endpoint_auth_method", "How the client proves itself")

    class Meta:
        model = OAuthRegistration
        fields = ("org", "domain", "issuer", "client_id", "auth_method")
        labels: ClassVar[dict[str, str]] = {"client_id": "Client id"}
        help_texts: ClassVar[dict[str, str]] = {
            "domain": "For every upstream at this host and below it, unless the upstream has a client of its own.",
            "issuer": "The authorization server that the client belongs to. Empty: the first that it is used with.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = self._stored()
        for name in SECRETS:
            self.initial[name] = MASK if stored.get(name) else ""

    def clean_domain(self) -> str:
        domain = str(self.cleaned_data["domain"]).strip().lower().strip(".")
        if not DOMAIN.match(domain):
            raise forms.ValidationError("Write a host name such as example.com.")
        return domain

    def clean_issuer(self) -> str:
        issuer = str(self.cleaned_data["issuer"]).strip()
        if issuer and url_fault(issuer):
            raise forms.ValidationError("Write the http or https URL of the authorization server.")
        return issuer

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        stored, secret = self._stored(), {}
        moved = bool(self.instance.issuer) and self.instance.issuer != cleaned.get("issuer")
        for name in SECRETS:
            text = str(cleaned.get(name) or "").strip()
            if text == MASK and (moved or self.instance.domain != cleaned.get("domain")):
                self.add_error(name, "The domain or the issuer changed: enter it again.")
            if kept := stored.get(name, "") if text == MASK else text:
                secret[name] = kept
        cleaned["secret"] = secret
        return cleaned

    def _stored(self) -> dict[str, Any]:
        if self.instance._state.adding:
            return {}
        try:
            stored: dict[str, Any] = self.instance.secret
        except KeyringError:
            return {}
        return stored

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own hook, absent from the stubs
        if "secret" in self.cleaned_data:
            self.instance.secret = self.cleaned_data["secret"]


@admin.register(OAuthRegistration)
class OAuthClientAdmin(OrgScopedAdmin):
    """Registered ones can be looked at and deleted: the next sign-in registers anew."""

    form = OAuthClientForm
    required_right = Right.MANAGE_UPSTREAMS
    view_right = Right.VIEW_CONFIG
    list_display = ("client_id", "about", "issuer_or_any", "origin", "created_at")
    list_filter = ("org", "origin")
    list_select_related = ("org", "upstream")
    search_fields = ("client_id", "domain", "issuer", "upstream__slug")
    fields = ("org", "domain", "issuer", "client_id", "client_secret", "auth_method", "private_key")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What belongs to one upstream is changed on that upstream's page; what was registered is as it is."""
        entered = obj is None or (obj.origin == Origin.PREREGISTERED and obj.upstream_id is None)
        return entered and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Any row may go."""
        return self._may(request, self.required_right, obj)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            return ("org", "upstream", "domain", "issuer", "client_id", "auth_method", "origin", "redirect_uri")
        return self.fields

    @admin.display(description="For", ordering="domain")
    def about(self, row: OAuthRegistration) -> Any:
        return str(row.upstream) if row.upstream_id else dash(row.domain)

    @admin.display(description="Authorization server", ordering="issuer")
    def issuer_or_any(self, row: OAuthRegistration) -> str:
        return row.issuer or "the first that it is used with"
