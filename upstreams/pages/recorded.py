"""What the pages of this app have in common."""

from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django.utils.safestring import SafeString

from mcphub.accounts.admin_base import OrgScopedAdmin
from mcphub.accounts.roles import Right
from mcphub.accounts.visitor import actor_of
from upstreams import acts
from upstreams.models import Definition, Upstream


class RecordedAdmin(OrgScopedAdmin):
    """Changes go on record with the names of secrets and a mark for each value, so that a new value shows."""

    required_right = Right.MANAGE_UPSTREAMS
    list_fullwidth = True

    class Media:
        css = {"all": ("upstreams/admin.css",)}

    def record(
        self, request: HttpRequest, obj: Model, verb: str, before: dict[str, Any], *, gone: bool = False
    ) -> None:
        """As the base does, with this app's own facts."""
        by = actor_of(request)
        if isinstance(obj, Definition) or (isinstance(obj, Upstream) and verb == "change"):
            acts.record_change(by, obj, before)
        elif isinstance(obj, Upstream):
            acts.record_deleted(by, obj) if gone else acts.record_created(by, obj)

    @staticmethod
    def _stored(obj: Model) -> dict[str, Any]:
        found = type(obj)._base_manager.filter(pk=obj.pk).first()
        return acts.facts_of(found) if isinstance(found, Upstream | Definition) else {}


def dash(value: Any) -> Any:
    """The value, or a dash where there is none."""
    return value or SafeString("–")
