"""The form of an attribute mapping."""

from mcphub.accounts.admin_forms import RolesField
from mcphub.accounts.giving import GivingForm
from policies.forms import GlobsField
from policies.models import AttributeMapping


class MappingForm(GivingForm):
    """Claims on one side, roles on the other."""

    values = GlobsField("engineering", required=True, help_text="One of these must be there. true, false; * for any.")
    roles = RolesField()
    sources = GlobsField(
        "anybody", help_text="people (who signed in here), or names of issuers of tokens. Empty: from anywhere."
    )

    class Meta:
        model = AttributeMapping
        fields = ("org", "name", "claim", "values", "roles", "sources", "enabled")
        help_texts = {"claim": "As the provider calls it: groups, email, realm_access.roles, …"}
