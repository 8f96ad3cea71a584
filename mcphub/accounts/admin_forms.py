"""Forms of the admin pages of people, members and keys."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from mcphub.accounts.admin_base import OneOrgForm
from mcphub.accounts.models import ApiKey, Membership, Org, User, normal_email
from mcphub.accounts.roles import Right, givable_roles, role_names
from mcphub.accounts.services import slug_fault
from mcphub.core.clock import now

PERSONAL, SERVICE = "me", "service"


class OrgForm(OneOrgForm):
    class Meta:
        model = Org
        fields = ("slug", "name", "enabled")

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        fault = slug_fault(slug)
        if fault:
            raise forms.ValidationError(fault)
        return slug


class PersonForm(OneOrgForm):
    class Meta:
        model = User
        fields = ("email", "name", "is_superuser", "is_active")
        labels = {"is_superuser": "Hub admin", "is_active": "May sign in"}
        help_texts = {"is_superuser": "Runs the installation and configures every org."}

    def clean_email(self) -> str:
        return normal_email(self.cleaned_data["email"])


class GlobsField(forms.CharField):
    """A list of globs, typed with commas between."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [part.strip() for part in (super().to_python(value) or "").split(",") if part.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or []) != self.to_python(data))


class RolesField(forms.MultipleChoiceField):
    """Role names of the orgs that the form may name."""

    widget = UnfoldAdminCheckboxSelectMultipleWidget


class RolesForm(OneOrgForm):
    """A form with `roles`; the page sets `rights`, the signed-in person's rights by org id."""

    rights: Mapping[str, frozenset[Right]] = {}
    roles = RolesField()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields.get("roles")
        if isinstance(field, RolesField):
            orgs = self.rights if self.instance._state.adding else {str(self.instance.org_id): frozenset[Right]()}
            field.choices = [(name, name) for name in sorted(frozenset().union(*map(role_names, orgs)))]

    def org_id(self) -> str:
        """The id of the org that the row is in, or will be; "" when none was chosen."""
        org = self.cleaned_data.get("org") if self.instance._state.adding else self.instance.org
        return str(org.pk) if isinstance(org, Org) else ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        org_id = self.org_id()
        if org_id:
            given = frozenset(cleaned.get("roles", ())) - frozenset(self.initial.get("roles") or ())
            self._refuse(given - role_names(org_id), "This org has no role")
            self._refuse(given - givable_roles(org_id, self.rights.get(org_id, ())), "You cannot give the role")
        return cleaned

    def _refuse(self, roles: Iterable[str], why: str) -> None:
        names = ", ".join(sorted(roles))
        if names:
            self.add_error("roles", f"{why} {names}.")


class MemberForm(RolesForm):
    """Adds a person by e-mail, known to the hub or not; later only roles and attributes change."""

    email = forms.EmailField(label="E-mail", widget=UnfoldAdminTextInputWidget)

    class Meta:
        model = Membership
        fields = ("org", "roles", "attributes")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        email = normal_email(cleaned.get("email") or "")
        if self.org_id() and email and Membership.objects.for_org(self.org_id()).filter(user__email=email).exists():
            self.add_error("email", "They are a member already.")
        return cleaned


class KeyForm(RolesForm):
    """A key of the signed-in person, whose roles it follows, or a service key with roles of its own."""

    holder = forms.ChoiceField(
        label="Speaks for",
        choices=((PERSONAL, "me: it has my roles as long as I have them"), (SERVICE, "itself: a service key")),
        widget=UnfoldAdminSelectWidget,
    )
    roles = RolesField(required=False, help_text="A service key needs one. On your own key they narrow your roles.")
    upstreams = GlobsField(required=False, help_text="Only these upstreams: slugs with * and ?, comma-separated.")
    tools = GlobsField(required=False, help_text="Only these tools: original names with * and ?, comma-separated.")

    class Meta:
        model = ApiKey
        fields = ("org", "name", "roles", "upstreams", "tools", "application", "expires_at")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        service = cleaned.get("holder") == SERVICE if self.instance._state.adding else self.instance.user_id is None
        if service and not cleaned.get("roles") and "roles" not in self.errors:
            self.add_error("roles", "A service key needs at least one role.")
        return cleaned

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        working = ApiKey.objects.filter(name=name, revoked_at=None).exclude(pk=self.instance.pk)
        if self.org_id() and working.filter(org_id=self.org_id()).exists():
            raise forms.ValidationError("A working key has that name already.")
        return name

    def clean_expires_at(self) -> Any:
        at = self.cleaned_data["expires_at"]
        if at is not None and "expires_at" in self.changed_data and at <= now():
            raise forms.ValidationError("That moment has passed.")
        return at
