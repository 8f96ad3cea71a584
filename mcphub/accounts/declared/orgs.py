"""The org's own settings in the document, one row (`settings: {org: {…}}`), and the issuers that it trusts."""

from collections.abc import Iterable
from typing import Any

from mcphub.accounts.declared.sections import BadPart, Section
from mcphub.accounts.models import Issuer, Org

ONLY = "org"


class OrgSection(Section):
    name = "settings"
    model = Org
    fields = ("enabled", "definition_changes")

    def rows(self, org: Org) -> Iterable[Any]:
        return Org.objects.filter(pk=org.pk)

    def key(self, row: Any) -> str:
        return ONLY

    def make(self, org: Org, key: str) -> Any:
        raise BadPart("", f"settings stand under “{ONLY}”")

    def is_kept(self, row: Any) -> bool:
        return True

    def is_said(self, row: Any) -> bool:
        return False

    def out(self, row: Any) -> dict[str, Any]:
        named = {"name": row.name} if row.name != row.slug else {}
        return {**named, **super().out(row)}

    def take(self, row: Any, given: Any, sources: Any) -> None:
        super().take(row, {name: value for name, value in given.items() if name != "name"}, sources)
        row.name = self._shaped("name", given.get("name", row.slug))


class IssuerSection(Section):
    name = "issuers"
    model = Issuer
    fields = ("issuer", "audiences", "algorithms", "required", "roles", "advertised", "enabled")
