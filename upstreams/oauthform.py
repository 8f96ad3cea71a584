"""The part of an upstream's form that says which OAuth client the hub is there."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from mcphub.accounts.admin_base import OneOrgForm
from mcphub.core.keyring import KeyringError
from upstreams.formfields import MASK
from upstreams.models import CredentialMode
from upstreams.serversfile import OAUTH_CHOICES, oauth_faults

PREFIX: Final = "oauth_"
WRITE_ONLY: Final = ("client_secret", "private_key")
NAMES: Final = (
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scopes",
    "oauth_grant_type",
    "oauth_token_endpoint_auth_method",
    "oauth_private_key",
    "oauth_signing_algorithm",
)
TEXTS: Final = ("client_id", "issuer", "grant_type", "token_endpoint_auth_method", "signing_algorithm")
LABELS: Final[Mapping[str, str]] = {
    "": "As the server wants it",
    "authorization_code": "People sign in",
    "client_credentials": "The hub for itself, without a person",
    "none": "Nothing: a public client",
    "client_secret_basic": "Secret in the header (Basic)",
    "client_secret_post": "Secret in the form",
    "private_key_jwt": "Signed with the private key",
}


def choice_field(key: str, label: str, **kwargs: Any) -> forms.ChoiceField:
    """A choice among `OAUTH_CHOICES`, one empty line before them where the hub can find out by itself."""
    choices = [(value, LABELS.get(value, value)) for value in OAUTH_CHOICES[key]]
    if key == "token_endpoint_auth_method":
        choices.insert(0, ("", LABELS[""]))
    return forms.ChoiceField(required=False, label=label, choices=choices, widget=UnfoldAdminSelectWidget, **kwargs)


def text_field(label: str, help_text: str = "", **attributes: str) -> forms.CharField:
    """A line of text that no browser fills in by itself."""
    widget = UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false", **attributes})
    return forms.CharField(required=False, max_length=2000, label=label, help_text=help_text, widget=widget)


class OAuthForm(OneOrgForm):
    """Fields `oauth_…`, kept together in one sealed column. Secret ones go in and never come out."""

    oauth_client_id = text_field("Client id", "Empty: the hub introduces or registers itself.")
    oauth_client_secret = text_field("Client secret", "A stored one stays hidden; empty the field to remove it.")
    oauth_scopes = text_field("Scopes", "Blanks between. Empty: what the upstream asks for.")
    oauth_issuer = text_field("Issuer", "The authorization server that the client belongs to; it goes to no other.")
    oauth_grant_type = choice_field("grant_type", "Who signs in")
    oauth_token_endpoint_auth_method = choice_field("token_endpoint_auth_method", "How the client proves itself")
    oauth_private_key = forms.CharField(
        required=False,
        label="Private key (PEM)",
        help_text="A stored one stays hidden; empty the field to remove it.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
    )
    oauth_signing_algorithm = choice_field("signing_algorithm", "Signed by")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = self._stored_oauth()
        for key in TEXTS:
            self.initial[PREFIX + key] = stored.get(key, "")
        self.initial["oauth_scopes"] = " ".join(map(str, stored.get("scopes") or ()))
        for key in WRITE_ONLY:
            self.initial[PREFIX + key] = MASK if stored.get(key) else ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if "oauth_client_id" in self.fields:
            self._clean_oauth(cleaned)
        return cleaned

    def _clean_oauth(self, cleaned: dict[str, Any]) -> None:
        value: dict[str, Any] = {key: cleaned[PREFIX + key] for key in TEXTS if cleaned.get(PREFIX + key)}
        value = {key: text for key, text in value.items() if text not in USUAL}
        if scopes := cleaned.get("oauth_scopes", "").split():
            value["scopes"] = scopes
        for key in WRITE_ONLY:
            if text := self._secret(cleaned, key):
                value[key] = text
        itself = value.get("grant_type") == "client_credentials"
        if itself and cleaned.get("credential_mode") not in (None, "", CredentialMode.SHARED):
            self.add_error("oauth_grant_type", "The hub's own access is one account for everybody.")
        for key, fault in oauth_faults(value):
            self.add_error(PREFIX + key, f"{fault[:1].upper()}{fault[1:]}.")
        cleaned["oauth"] = value

    def _secret(self, cleaned: Mapping[str, Any], key: str) -> str:
        """What was typed; in place of the mask what is stored, unless it would be shown to another place now."""
        text = str(cleaned.get(PREFIX + key) or "").strip()
        if text != MASK:
            return text
        if self._moved(cleaned):
            self.add_error(PREFIX + key, "The address or the issuer changed: enter it again.")
        return str(self._stored_oauth().get(key, ""))

    def _moved(self, cleaned: Mapping[str, Any]) -> bool:
        before, now = urlsplit(self.instance.url), urlsplit(cleaned.get("url", ""))
        issuer = self._stored_oauth().get("issuer", "")
        elsewhere = (before.scheme, before.netloc.lower()) != (now.scheme, now.netloc.lower())
        return elsewhere or bool(issuer and issuer != cleaned.get("oauth_issuer"))

    def _stored_oauth(self) -> Mapping[str, Any]:
        if self.instance._state.adding:
            return {}
        try:
            stored: Mapping[str, Any] = self.instance.oauth
        except KeyringError:
            return {}
        return stored

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own hook, absent from the stubs
        if "oauth" in self.cleaned_data:
            self.instance.oauth = self.cleaned_data["oauth"]


USUAL: Final = frozenset({"authorization_code", "RS256"})
"""Values that need not be kept: what counts where nothing is said."""
