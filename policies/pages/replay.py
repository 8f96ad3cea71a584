"""The pages of replays: what a draft would have changed of the calls of the last days."""

from typing import Any, Final

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from mcphub.accounts.admin_base import pill
from mcphub.accounts.roles import Right
from policies.comparing import TOLD, Unknown
from policies.models import Replay
from policies.pages.base import PolicyAdmin

SHOWN: Final = 200
COLOURS: Final = {
    "done": "success",
    "failed": "danger",
    "reading the record": "info",
    "waiting for a worker": "warning",
}


@admin.register(Replay)
class ReplayAdmin(PolicyAdmin):
    """To be looked at; asked for from the form of a rule."""

    view_right = Right.READ_AUDIT
    list_display = ("title", "days", "org", "state_pill", "found", "asked_by", "asked_at")
    list_filter = ("org", "state")
    list_select_related = ("org",)
    search_fields = ("title", "asked_by")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A rule's form has the button."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What was found stays as it was found."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, self.required_right, obj)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The whole page, or to HTMX the part that grows."""
        row = self.get_object(request, object_id)
        if row is None or not self.has_view_permission(request, row):
            raise Http404
        partial = bool(request.headers.get("HX-Request"))
        template = "admin/policies/replay/found.html" if partial else "admin/policies/replay/page.html"
        context = {**self.admin_site.each_context(request), "title": str(row), "row": row, **_found(row)}
        return TemplateResponse(request, template, context)

    @pill("State", COLOURS)
    def state_pill(self, row: Replay) -> str:
        return row.get_state_display()

    @admin.display(description="Would change")
    def found(self, row: Replay) -> str:
        return f"{row.result['changed']:,} of {row.calls:,} calls" if row.result else "–"


def _found(row: Replay) -> dict[str, Any]:
    result = row.result or {"changes": [], "unknown": {}}
    changes = result["changes"]
    return {
        "working": row.state in (Replay.State.DUE, Replay.State.RUNNING),
        "result": row.result,
        "calls": f"{row.calls:,}",
        "changed": f"{row.result['changed']:,}" if row.result else "",
        "changes": [{**one, "count": f"{one['count']:,}"} for one in changes[:SHOWN]],
        "more": f"{len(changes) - SHOWN:,}" if len(changes) > SHOWN else "",
        "unknown": [(f"{count:,}", TOLD[Unknown(why)]) for why, count in result["unknown"].items()],
    }
