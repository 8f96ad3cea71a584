"""The record in the admin: read only, one org at a time, paged by key and never counted."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import TextFilter
from unfold.views import ChangeList

from audit import selectors
from audit.access import visible_orgs
from audit.events import Kind, Result
from audit.models import AuditEvent
from audit.selectors import Place
from mcphub.core.clock import now

DECIDED: Final = (Kind.INTENT, Kind.DENIED, Kind.ASKED, Kind.RESUMED)

BEFORE = "before"
INSTALLATION = "-"
PAGE_ROWS = 50


class Pager(Paginator):  # type: ignore[type-arg]  # generic in the stubs only
    """Knows only whether there is more; counting a million rows takes seconds."""

    template_name = "admin/audit/auditevent/pager.html"
    count = 0


class Timeline(ChangeList):  # type: ignore[misc]  # unfold ships no types
    """A page of events, newest first, behind the place named by `before`."""

    older_url: str

    def get_filters_params(self, params: Any = None) -> Any:
        found = super().get_filters_params(params)
        found.pop(BEFORE, None)
        return found

    def get_results(self, request: HttpRequest) -> None:
        than = Place.parse(request.GET.get(BEFORE, ""))
        rows = selectors.older(self.queryset, than, PAGE_ROWS + 1)
        self.result_list = rows[:PAGE_ROWS]
        self.result_count = len(self.result_list)
        self.full_result_count = None
        self.show_full_result_count = self.show_admin_actions = self.can_show_all = self.multi_page = False
        self.paginator = Pager(self.result_list, PAGE_ROWS)
        self.newest_url = self.get_query_string(remove=[BEFORE]) if than else ""
        self.older_url = ""
        if len(rows) > PAGE_ROWS:
            last = self.result_list[-1]
            self.older_url = self.get_query_string({BEFORE: str(Place(last.at, last.id))})


class OrgFilter(admin.SimpleListFilter):
    """Always one org: its rows lie together in time order, several orgs' do not."""

    title = "org"
    parameter_name = "org"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        orgs = visible_orgs(request)
        return [(org_id or INSTALLATION, slug or "installation") for org_id, slug in orgs.items()]

    def value(self) -> str | None:
        known = [value for value, _ in self.lookup_choices]
        asked = super().value()
        return asked if asked in known else next(iter(known), None)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = self.value()
        return queryset.filter(org_id="" if chosen == INSTALLATION else chosen) if chosen else queryset.none()

    def choices(self, changelist: Any) -> Iterator[Any]:
        return islice(super().choices(changelist), 1, None)


class ChoiceFilter(admin.SimpleListFilter):
    """One column, one of a few known values."""

    values: ClassVar[tuple[str, ...]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value) for value in self.values]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.parameter_name or "": self.value()}) if self.value() else queryset


class KindFilter(ChoiceFilter):
    title = parameter_name = "kind"
    values = tuple(Kind)


class EffectFilter(ChoiceFilter):
    title = parameter_name = "effect"
    values = ("allow", "deny", "ask")


class OutcomeFilter(ChoiceFilter):
    title = parameter_name = "outcome"
    values = tuple(Result)


class TimeFilter(admin.SimpleListFilter):
    title = "time"
    parameter_name = "last"
    spans: ClassVar[dict[str, timedelta]] = {
        "1h": timedelta(hours=1),
        "24h": timedelta(days=1),
        "7d": timedelta(days=7),
        "30d": timedelta(days=30),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, f"last {name}") for name in self.spans]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        span = self.spans.get(self.value() or "")
        return queryset.filter(at__gte=selectors.epoch_us_of(now() - span)) if span else queryset


class ColumnFilter(TextFilter):  # type: ignore[misc]  # unfold ships no types
    """Text that a column contains."""

    columns: ClassVar[tuple[str, ...]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = self.value()
        wanted = Q()
        for column in self.columns if text else ():
            wanted |= Q(**{f"{column}__icontains": text})
        return queryset.filter(wanted)


class PrincipalFilter(ColumnFilter):
    title = parameter_name = "principal"
    columns = ("principal", "principal_id")


class UpstreamFilter(ColumnFilter):
    title = parameter_name = "upstream"
    columns = ("upstream",)


class ToolFilter(ColumnFilter):
    title = parameter_name = "tool"
    columns = ("name",)


@admin.register(AuditEvent)
class AuditEventAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Who did what, when, why it was allowed and how it ended; one event shows its whole call."""

    list_display = ("moment", "kind", "principal", "application", "what", "effect", "outcome", "why", "took")
    list_display_links = ("moment",)
    list_filter = (
        OrgFilter,
        TimeFilter,
        KindFilter,
        EffectFilter,
        OutcomeFilter,
        PrincipalFilter,
        UpstreamFilter,
        ToolFilter,
    )
    list_filter_submit = True
    sortable_by = ()
    ordering = ("-at", "-id")
    show_full_result_count = False
    actions = None
    fieldsets = (
        (None, {"fields": ("moment", "kind", "what", "effect", "rule", "reason", "outcome", "took")}),
        ("Who", {"fields": ("org", "principal", "principal_id", "credential", "application", "source")}),
        ("How", {"fields": ("method", "risk", "upstream_identity", "sizes", "call_id", "trace_id")}),
        ("Payload", {"fields": ("payload_mode", "payload", "more")}),
        ("The whole call", {"fields": ("whole_call",)}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Timeline

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEvent]:
        return AuditEvent.objects.filter(org_id__in=list(visible_orgs(request)))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(visible_orgs(request))

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return bool(visible_orgs(request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> Any:
        raise Http404

    @admin.display(description="time (UTC)")
    def moment(self, row: AuditEvent) -> str:
        return f"{row.when:%Y-%m-%d %H:%M:%S.%f}"[:-3]

    @admin.display(description="what")
    def what(self, row: AuditEvent) -> str:
        return " ".join(filter(None, (row.method, f"{row.upstream}: {row.name}" if row.upstream else row.name)))

    @admin.display(description="why")
    def why(self, row: AuditEvent) -> str | SafeString:
        """Why it was decided so, with the page that says more."""
        if row.kind not in DECIDED or not row.call_id:
            return row.reason
        return format_html(
            '<a class="underline" href="{}">{}</a>', reverse("why", args=[row.call_id]), row.reason or "why"
        )

    @admin.display(description="took")
    def took(self, row: AuditEvent) -> str:
        return f"{row.latency_us / 1000:.1f} ms" if row.latency_us else ""

    @admin.display(description="bytes in, out")
    def sizes(self, row: AuditEvent) -> str:
        return f"{row.request_bytes}, {row.result_bytes}"

    @admin.display(description="kept payload")
    def payload(self, row: AuditEvent) -> str | SafeString:
        kept = selectors.payloads_of([row]).get(row.id)
        return _pretty(kept) if kept else "erased" if row.payload_digest and row.payload_mode != "hash" else "none"

    @admin.display(description="details")
    def more(self, row: AuditEvent) -> SafeString:
        return _pretty(row.details)

    @admin.display(description="events")
    def whole_call(self, row: AuditEvent) -> SafeString | str:
        events = selectors.call(row.org_id, row.call_id)
        return format_html_join(
            "",
            '<div><a class="underline" href="{}">{} {}</a> {} {} {}</div>',
            (
                (_url(one), self.moment(one), one.kind, one.outcome or one.effect, one.reason, self.took(one))
                for one in events
            ),
        )


def _url(row: AuditEvent) -> str:
    return reverse("admin:audit_auditevent_change", args=[row.id])


def _pretty(text: str) -> SafeString:
    with suppress(ValueError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return format_html('<pre class="whitespace-pre-wrap">{}</pre>', text)
