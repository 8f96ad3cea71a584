"""The form of an attribute mapping."""

from collections.abc import Mapping
from typing import Any

from mcphub.accounts.admin_forms import RolesField, RolesForm
from mcphub.accounts.roles import Right, givable_roles
from policies.forms import GlobsField
from policies.models import AttributeMapping


class MappingForm(RolesForm):
    """Claims on one side, roles on the other. Nobody gives a role with more rights than they hold."""

    rights: Mapping[str, frozenset[Right]] = {}
    values = GlobsField("engineering", required=True, help_text="One of these must be there. true, false; * for any.")
    roles = RolesField()
    sources = GlobsField(
        "anybody", help_text="people (who signed in here), or names of issuers of tokens. Empty: from anywhere."
    )

    class Meta:
        model = AttributeMapping
        fields = ("org", "name", "claim", "values", "roles", "sources", "enabled")
        help_texts = {"claim": "As the provider calls it: groups, email, realm_access.roles, …"}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        org_id = self.org_id()
        wanted = frozenset(cleaned.get("roles", ()))
        beyond = sorted(wanted - givable_roles(org_id, self.held(org_id))) if org_id else []
        if beyond and "roles" not in self.errors:
            self.add_error("roles", f"You hold less than: {', '.join(beyond)}.")
        return cleaned

    def held(self, org_id: str) -> frozenset[Right]:
        """The rights of the person who fills it in."""
        return self.rights.get(org_id, frozenset())
