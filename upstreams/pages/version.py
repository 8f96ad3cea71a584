"""The pages of changed definitions: what is new, held against what was in use, to approve or to refuse."""

import json
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action

from mcphub.accounts.admin_base import pill
from mcphub.accounts.visitor import actor_of
from upstreams.ledger import diff, review
from upstreams.ledger.changes import SUSPICIOUS
from upstreams.models import DefinitionVersion, ReviewChoice
from upstreams.pages.definition import pretty, visible
from upstreams.pages.recorded import RecordedAdmin, dash

COLOURS: Final = {
    ReviewChoice.HELD.label: "danger",
    ReviewChoice.NOTED.label: "warning",
    ReviewChoice.REFUSED.label: "info",
    ReviewChoice.APPROVED.label: "success",
}
WORDS: Final = {
    "description": "description",
    "schema_widened": "takes more",
    "schema_narrowed": "takes less",
    "schema_changed": "other schema",
    "annotations": "annotations",
    "other": "other members",
    "rename": "renamed",
    "lookalike": "looks like another tool",
    "hidden_characters": "hidden characters",
    "instructions": "speaks to the model",
    "foreign_tool": "speaks of another server's tool",
}


class ReviewFilter(SimpleListFilter):
    """What waits for somebody, unless something else is asked for."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return (*ReviewChoice.choices, ("all", "All"))

    def choices(self, changelist: Any) -> Any:
        first, *rest = super().choices(changelist)
        return [{**first, "display": "Waiting"}, *rest]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.filter(review__in=[self.value()] if self.value() else review.OPEN)


@admin.register(DefinitionVersion)
class VersionAdmin(RecordedAdmin):
    list_display = ("named", "upstream", "changed", "state", "first_seen")
    list_filter = (ReviewFilter, "definition__upstream")
    list_select_related = ("definition__upstream",)
    list_per_page = 50
    search_fields = ("definition__name", "definition__upstream__slug")
    actions = ("approve", "refuse")
    actions_submit_line = ("approve_this", "refuse_this")
    fieldsets = (
        (None, {"fields": ("named", "upstream", "state", "first_seen", "reviewed")}),
        ("What is new", {"fields": ("changed_at_length", "difference")}),
        ("The whole definition", {"classes": ("collapse",), "fields": ("whole",)}),
    )
    readonly_fields = (
        "named",
        "upstream",
        "state",
        "first_seen",
        "reviewed",
        "changed_at_length",
        "difference",
        "whole",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.filter(~Q(changes=[]) | ~Q(review=ReviewChoice.APPROVED))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Versions come from upstreams."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """The ledger is kept."""
        return False

    @admin.display(description="Definition", ordering="definition__name")
    def named(self, row: DefinitionVersion) -> Any:
        return format_html("{} <code>{}</code>", row.definition.kind, _visible(row.definition.name))

    @admin.display(description="Upstream", ordering="definition__upstream__slug")
    def upstream(self, row: DefinitionVersion) -> str:
        return row.definition.upstream.slug

    @admin.display(description="What is new")
    def changed(self, row: DefinitionVersion) -> Any:
        kinds = sorted({change["kind"] for change in row.changes}, key=lambda kind: (kind not in SUSPICIOUS, kind))
        return dash(", ".join(WORDS[kind] for kind in kinds))

    @pill("State", COLOURS)
    def state(self, row: DefinitionVersion) -> str:
        return str(ReviewChoice(row.review).label)

    @admin.display(description="Looked at")
    def reviewed(self, row: DefinitionVersion) -> Any:
        if row.reviewed_at is None:
            return dash("")
        return f"{row.reviewed_at:%Y-%m-%d %H:%M} by {row.reviewed_by}"

    @admin.display(description="Changes")
    def changed_at_length(self, row: DefinitionVersion) -> Any:
        lines = [(WORDS[each["kind"]], _visible(each["where"]), _visible(each["detail"])) for each in row.changes]
        return format_html_join(
            "", '<p class="hub-wrap"><strong>{}</strong> at <code>{}</code> {}</p>', lines
        ) or dash("")

    @admin.display(description="Against what was in use")
    def difference(self, row: DefinitionVersion) -> SafeString:
        before = json.loads(row.baseline.body) if row.baseline else {}
        found = diff.rows(before, json.loads(row.body))
        context = {"rows": found, "before": row.baseline}
        return render_to_string("admin/upstreams/definitionversion/difference.html", context)

    @admin.display(description="Definition")
    def whole(self, row: DefinitionVersion) -> SafeString:
        return visible(pretty(json.loads(row.body)))

    @admin.action(description="Approve: use them from now on")
    def approve(self, request: HttpRequest, rows: QuerySet[DefinitionVersion]) -> None:
        changed = review.approve(rows, by=actor_of(request))
        self.message_user(request, f"Approved: {len(changed)}.", messages.SUCCESS)

    @admin.action(description="Refuse: hold them back")
    def refuse(self, request: HttpRequest, rows: QuerySet[DefinitionVersion]) -> None:
        changed = review.refuse(rows, by=actor_of(request))
        self.message_user(request, f"Refused: {len(changed)}.", messages.SUCCESS)

    @action(description="Approve", permissions=("change",))  # type: ignore[untyped-decorator]  # unfold ships no types
    def approve_this(self, request: HttpRequest, obj: DefinitionVersion) -> None:
        self.approve(request, DefinitionVersion.objects.filter(pk=obj.pk))

    @action(description="Refuse", permissions=("change",))  # type: ignore[untyped-decorator]  # unfold ships no types
    def refuse_this(self, request: HttpRequest, obj: DefinitionVersion) -> None:
        self.refuse(request, DefinitionVersion.objects.filter(pk=obj.pk))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A version never changes; what is decided on it is saved and put on record by the decision."""
        for button in self.get_actions_submit_line(request, obj.pk):
            if button.action_name in request.POST:
                button.method(request, obj)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """There is nothing to save, only to decide."""
        hidden = dict.fromkeys(("show_save", "show_save_and_continue", "show_save_and_add_another"), False)
        return super().render_change_form(request, {**context, **hidden}, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponseRedirect:
        """Back to what still waits."""
        return HttpResponseRedirect(reverse("admin:upstreams_definitionversion_changelist"))


def _visible(text: str) -> SafeString:
    return render_to_string("admin/upstreams/definitionversion/runs.html", {"runs": list(diff.runs(text, "same"))})
