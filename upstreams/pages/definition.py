"""The pages of definitions: what each tool is, what it may do, and whether it may be used."""

import json
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.db.models import Exists, F, Model, OuterRef, QuerySet, Value
from django.db.models.functions import Coalesce, NullIf
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.decorators import display

from mcphub.accounts.declared.owned import owned_ids
from mcphub.accounts.visitor import actor_of
from upstreams import naming, services
from upstreams.ledger import diff
from upstreams.models import CatalogueEntry, Definition, KindChoice, ReviewChoice, RiskChoice
from upstreams.pages.recorded import RecordedAdmin
from upstreams.shapeform import DefinitionForm
from upstreams.shaping import argument_faults

COLOURS = {"read": "success", "write": "info", "external": "warning", "destructive": "danger", "admin": "danger"}


class RiskFilter(SimpleListFilter):
    """By the class that policy goes by, override or not."""

    title = "risk"
    parameter_name = "risk"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return RiskChoice.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(risk_now=self.value()) if self.value() else queryset


class OfferedFilter(SimpleListFilter):
    """By whether the upstream lists it now."""

    title = "offered now"
    parameter_name = "offered"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return (("yes", "Yes"), ("no", "No"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(is_offered=self.value() == "yes") if self.value() else queryset


SHAPED: Final = ("alias", "described_as", "arguments")
SHAPED_OF: Final[dict[str, tuple[str, ...]]] = {
    KindChoice.TOOL.value: SHAPED,
    KindChoice.PROMPT.value: ("alias", "described_as"),
}


def _can_be_shaped(row: Definition) -> bool:
    return row.kind in SHAPED_OF and row.current is not None


def _fit(fields: tuple[str, ...], kind: str) -> tuple[str, ...]:
    return tuple(name for name in fields if name not in SHAPED or name in SHAPED_OF.get(kind, ()))


def _any(parts: Any, kind: str) -> bool:
    return bool(_fit(parts["fields"], kind))


def _panel(row: Definition) -> dict[str, Any]:
    """What the panel under the form shows of a row, saved or not."""
    body = row.current.body if row.current else "{}"
    shape = None if argument_faults(row.arguments, body) else row.shape
    listed = json.loads(shape.shown(body.encode()) if shape else body)
    return {"called": row.public_name, "shown": pretty({**listed, "name": row.alias or row.name})}


@admin.register(Definition)
class DefinitionAdmin(RecordedAdmin):
    form = DefinitionForm
    change_form_after_template = "admin/upstreams/definition/panel.html"
    warn_unsaved_form = True
    list_display = ("name", "alias", "kind", "upstream", "risk_pill", "risk_override", "enabled", "offered", "tokens")
    list_editable = ("risk_override", "enabled")
    list_filter = ("upstream", "kind", RiskFilter, "enabled", OfferedFilter)
    list_select_related = ("upstream", "current")
    list_per_page = 50
    search_fields = ("name", "alias", "upstream__slug")
    actions = ("switch_on", "switch_off")
    fieldsets = (
        (None, {"fields": ("upstream", "kind", "name", "called", "offered", "description")}),
        ("What it may do", {"fields": ("enabled", "risk_found", "risk_override")}),
        ("How clients see and call it", {"fields": ("alias", "described_as", "arguments")}),
        ("As the upstream describes it", {"fields": ("schema",)}),
        ("Every version seen", {"fields": ("ledger",)}),
    )
    readonly_fields = (
        "upstream",
        "kind",
        "name",
        "called",
        "offered",
        "description",
        "risk_found",
        "schema",
        "ledger",
    )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.preview))
        return [path("<path:object_id>/preview/", view, name="upstreams_definition_preview"), *super().get_urls()]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """What of a definition can be changed depends on its kind."""
        known = super().get_fieldsets(request, obj)
        kind = obj.kind if obj is not None else KindChoice.TOOL
        return [
            (title, {**parts, "fields": _fit(parts["fields"], kind)}) for title, parts in known if _any(parts, kind)
        ]

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        row = self.get_object(request, object_id) if object_id else None
        context = _panel(row) if row is not None and _can_be_shaped(row) else {}
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The definition as the posted form would have it listed; nothing is saved."""
        row = self.row_or_404(request, object_id)
        form = self.get_form(request, row, change=True)(request.POST, instance=row)
        form.is_valid()
        faults = [fault for name in SHAPED for fault in form.errors.get(name, ())]
        return TemplateResponse(request, "admin/upstreams/definition/preview.html", {"faults": faults, **_panel(row)})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        annotated: QuerySet[Any] = rows.annotate(
            is_offered=Exists(CatalogueEntry.objects.filter(definition=OuterRef("pk"))),
            risk_now=Coalesce(NullIf(F("risk_override"), Value("")), F("current__risk"), Value("write")),
        )
        return annotated

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Definitions come from upstreams."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """The ledger is kept."""
        return False

    def formfield_for_choice_field(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "risk_override":
            kwargs["choices"] = [("", "as found"), *RiskChoice.choices]
        return super().formfield_for_choice_field(db_field, request, **kwargs)

    @display(description="Risk", ordering="risk_now", label=COLOURS)  # type: ignore[untyped-decorator]  # unfold ships no types
    def risk_pill(self, row: Any) -> str:
        return str(row.risk_now)

    @admin.display(description="Offered now", boolean=True, ordering="is_offered")
    def offered(self, row: Any) -> bool:
        return bool(row.is_offered)

    @admin.display(description="Tokens", ordering="current__tokens", empty_value="–")
    def tokens(self, row: Any) -> int | None:
        return row.current.tokens if row.current else None

    @admin.display(description="Called")
    def called(self, row: Definition) -> Any:
        if row.kind not in (KindChoice.TOOL, KindChoice.PROMPT):
            return format_html("<code>{}</code>, as it is", row.name)
        note = ""
        if naming.is_shortened(row.upstream.slug, row.alias or row.name):
            note = " — shortened, because names have 64 letters, digits, - and _ at most"
        return format_html("<code>{}</code>{}", row.public_name, note)

    @admin.display(description="Description")
    def description(self, row: Definition) -> Any:
        return body_of(row).get("description") or SafeString("–")

    @admin.display(description="Risk found")
    def risk_found(self, row: Definition) -> str:
        if row.current is None:
            return "–"
        trust = "its annotations alone" if row.upstream.trusted else "its words, raised by its annotations"
        return f"{row.current.risk}, from {trust}"

    @admin.display(description="Definition")
    def schema(self, row: Definition) -> SafeString:
        return visible(pretty(body_of(row)))

    @admin.display(description="Versions")
    def ledger(self, row: Definition) -> SafeString:
        versions = [
            {
                "row": version,
                "text": visible(pretty(json.loads(version.body))),
                "current": version.pk == row.current_id,
                "looked_into": bool(version.changes) or version.review != ReviewChoice.APPROVED,
            }
            for version in row.versions.all()[:20]
        ]
        return render_to_string("admin/upstreams/definition/ledger.html", {"versions": versions})

    @admin.action(description="Switch on")
    def switch_on(self, request: HttpRequest, rows: QuerySet[Definition]) -> None:
        self._switch(request, rows, True)

    @admin.action(description="Switch off")
    def switch_off(self, request: HttpRequest, rows: QuerySet[Definition]) -> None:
        self._switch(request, rows, False)

    def _switch(self, request: HttpRequest, rows: QuerySet[Definition], on: bool) -> None:
        changed = services.set_definitions_enabled(
            rows.exclude(pk__in=owned_ids(Definition)), on, by=actor_of(request)
        )
        self.message_user(request, f"Switched {'on' if on else 'off'}: {len(changed)}.", messages.SUCCESS)


def body_of(row: Definition) -> dict[str, Any]:
    """The current version as the upstream sent it."""
    found: dict[str, Any] = json.loads(row.current.body) if row.current else {}
    return found


def visible(text: str) -> SafeString:
    """The text as it is, but for hidden characters, which stand there by name."""
    return render_to_string("admin/upstreams/definition/visible.html", {"runs": list(diff.runs(text, "same"))})


def pretty(body: Any) -> str:
    """JSON for people."""
    return json.dumps(body, indent=2, ensure_ascii=False)
