"""What people type on the pages of members, keys and orgs."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from django import forms

from mcphub.accounts.forms import PlainForm
from mcphub.accounts.models import ApiKey, Org
from mcphub.accounts.orgs import slug_state
from mcphub.core.clock import now

LIFETIMES: Final = (("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "until it is revoked"))
GRACE: Final = (("0", "at once"), ("1", "in an hour"), ("24", "in a day"), ("168", "in a week"))


class RolesField(forms.MultipleChoiceField):
    """Roles, of which some cannot be given by the one who asks."""

    widget = forms.CheckboxSelectMultiple


class Invite(PlainForm):
    email = forms.EmailField(
        label="E-mail",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "off", "placeholder": "somebody@example.org"}),
    )
    roles = RolesField(error_messages={"required": "Choose at least one role."})

    def __init__(self, *args: Any, roles: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choose_from(self.fields["roles"], roles)


class Roles(PlainForm):
    roles = RolesField(error_messages={"required": "Choose at least one role; to have none, remove the member."})

    def __init__(self, *args: Any, roles: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choose_from(self.fields["roles"], roles)


class Globs(forms.CharField):
    """Names with * and ?, comma-separated; an empty field narrows nothing."""

    def to_python(self, value: Any) -> Any:
        return [part.strip() for part in (super().to_python(value) or "").split(",") if part.strip()]


class NewKey(PlainForm):
    """A key. `needs_role` is true for service keys, which have only the roles that are chosen here."""

    name = forms.CharField(
        max_length=80, help_text="Where it will be used, for example “laptop”.", widget=forms.TextInput
    )
    lifetime = forms.ChoiceField(label="Works for", choices=LIFETIMES, required=False, initial="90")
    roles = RolesField(required=False)
    upstreams = Globs(
        required=False, label="Only these upstreams", help_text="Slugs with * and ?, comma-separated. Empty: all."
    )
    application = forms.CharField(
        required=False, max_length=80, help_text="Name of the program that uses it; rules can ask for it."
    )

    def __init__(self, *args: Any, org: Org, roles: Iterable[str], needs_role: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._org, self._needs_role = org, needs_role
        field = self.fields["roles"]
        choose_from(field, roles)
        field.label = "Roles" if needs_role else "Only these of my roles"
        field.help_text = "" if needs_role else "None chosen: all of them, for as long as I have them."

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        if ApiKey.objects.for_org(self._org).filter(name=name, revoked_at=None).exists():
            raise forms.ValidationError(f"{self._org.slug} has a working key of that name. Choose another one.")
        return name

    def clean_roles(self) -> list[str]:
        roles: list[str] = self.cleaned_data["roles"]
        if self._needs_role and not roles:
            raise forms.ValidationError("A service key needs at least one role.")
        return roles

    def expires_at(self) -> datetime | None:
        """When the key ends, by the form."""
        days = self.cleaned_data["lifetime"]
        return now() + timedelta(days=int(days)) if days else None


class Rotate(PlainForm):
    grace = forms.ChoiceField(label="The old one ends", choices=GRACE, initial="24")


class NewOrg(PlainForm):
    name = forms.CharField(max_length=120, help_text="As people see it.")
    slug = forms.CharField(
        max_length=32,
        label="Short name",
        help_text="Part of addresses: 2–32 lower-case letters, digits and inner hyphens.",
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off"}),
    )

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"].strip().lower()
        state = slug_state(slug)
        if not state.free:
            raise forms.ValidationError(state.words)
        return slug


class Typed(PlainForm):
    """A confirmation by typing a word."""

    typed = forms.CharField(widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none"}))

    def __init__(self, *args: Any, word: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._word = word
        self.fields["typed"].label = f"Type {word} to confirm"

    def clean_typed(self) -> str:
        typed: str = self.cleaned_data["typed"].strip()
        if typed != self._word:
            raise forms.ValidationError(f"That is not {self._word}. Nothing was deleted.")
        return typed


def choose_from(field: forms.Field, roles: Iterable[str]) -> None:
    """Offer these roles."""
    assert isinstance(field, forms.MultipleChoiceField)
    field.choices = [(name, name) for name in sorted(roles)]
