"""The pages of upstreams: how each is, what it says, and how it is reached."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.timesince import timesince
from django.views.decorators.http import require_POST
from unfold.decorators import action, display

from mcphub.accounts.declared.owned import file_of, owned_ids
from mcphub.accounts.models import User
from mcphub.accounts.visitor import actor_of, orgs_allowing
from upstreams import acts, services
from upstreams.forms import UpstreamForm
from upstreams.ledger.review import OPEN
from upstreams.models import DefinitionVersion, Upstream, UpstreamState
from upstreams.oauthform import NAMES as OAUTH_FIELDS
from upstreams.pages.importing import import_page
from upstreams.pages.recorded import RecordedAdmin, dash
from upstreams.selectors import config_fault, listed_tokens, offered_tools

COLOURS = {
    "up": "success",
    "connecting": "info",
    "left alone": "warning",
    "down": "danger",
    "unusable": "danger",
    "stopped": "warning",
}
# What the page's script evaluates; on a page to look at only, there is no field to ask.
OVER_HTTP = "typeof transport === 'undefined' || transport != 'stdio'"
AS_COMMAND = "typeof transport === 'undefined' || transport == 'stdio'"
SECRET_FIELDS = {
    "secret_headers",
    "secret_env",
    "plain_variables",
    "secret_variables",
    "file_variable",
    "file_upload",
    "files_removed",
    "pasted",
    "allow_address",
}
ASKS = {"refresh": services.mark_refresh_due, "restart": services.mark_restart_due}
ASKED = {"refresh": "will be listed again", "restart": "will be connected anew"}


@admin.register(Upstream)
class UpstreamAdmin(RecordedAdmin):
    form = UpstreamForm
    list_display = ("title", "state_pill", "transport", "tools", "trouble", "last_ok", "enabled", "org")
    list_filter = ("org", "state__state", "transport", "enabled")
    list_select_related = ("state", "org")
    search_fields = ("slug", "name", "url", "command")
    actions = ("refresh", "restart", "switch_on", "switch_off")
    actions_list = ("import_servers",)
    prepopulated_fields = {"slug": ("name",)}
    compressed_fields = True
    warn_unsaved_form = True
    change_form_outer_before_template = "admin/upstreams/upstream/status.html"
    conditional_fields = dict.fromkeys(
        ("url", "allow_address", "secret_headers", "egress_allow", "forward_headers"), OVER_HTTP
    ) | dict.fromkeys(("command", "args", "secret_env", "file_variable", "file_upload", "files_removed"), AS_COMMAND)
    fieldsets = (
        (None, {"fields": ("org", ("name", "slug"), "enabled")}),
        ("How it is reached", {"fields": ("transport", "url", "allow_address", "command", "args", "pasted")}),
        ("What it is given", {"fields": ("secret_headers", "secret_env", "plain_variables", "secret_variables")}),
        ("Files that it is given", {"fields": (("file_variable", "file_upload"), "files_removed")}),
        ("What goes along with a call", {"classes": ("collapse",), "fields": ("forward_headers", "claims")}),
        (
            "Whose account calls run under",
            {"fields": (("credential_mode", "credential_kind"), ("key_header", "key_format"), "key_help")},
        ),
        (
            "The hub as its OAuth client",
            {
                "classes": ("collapse",),
                "description": "For accounts that are connected by OAuth sign-in.",
                "fields": OAUTH_FIELDS,
            },
        ),
        (
            "How it is used",
            {
                "classes": ("collapse",),
                "fields": ("sharing", "payload_mode", "trusted", "idempotent", "egress_allow"),
            },
        ),
        (
            "What it may ask in the middle of a call",
            {"classes": ("collapse",), "fields": (("may_elicit", "may_sample", "may_list_roots"),)},
        ),
        (
            "Seconds",
            {
                "classes": ("collapse",),
                "description": "Empty means the installation's own limit.",
                "fields": (("connect_s", "call_s", "call_hard_s"), ("heartbeat_s", "discovery_s")),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        annotated: QuerySet[Any] = rows.annotate(tools_offered=offered_tools())
        return annotated

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        acting = request.user if isinstance(request.user, User) else None
        return type(form.__name__, (form,), {"acting": acting})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        hidden = set() if self._may_allow(request) else {"allow_address"}
        if obj is not None and not self.has_change_permission(request, obj):
            hidden |= {*SECRET_FIELDS, *OAUTH_FIELDS}
        if obj is not None and not self._several_orgs(request):
            hidden.add("org")
        return [
            (title, {**options, "fields": [name for name in options["fields"] if name not in hidden]})
            for title, options in fieldsets
            if not hidden.issuperset(options["fields"])
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        fixed = super().get_readonly_fields(request, obj)
        return fixed if self._may_allow(request) else (*fixed, "egress_allow")

    def _may_allow(self, request: HttpRequest) -> bool:
        return UpstreamForm.allowing(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows that a servers file owns are changed there."""
        return super().has_change_permission(request, obj) and not (obj is not None and obj.source)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Any row may go; one that a file still names comes back when the file is read again."""
        return super().has_change_permission(request, obj)

    def may_ask(self, request: HttpRequest, row: Upstream) -> bool:
        """Whether the person may have the row refreshed or restarted, whoever owns its text."""
        return self._may(request, self.required_right, row)

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return tuple(name for name in self.list_display if name != "org" or self._several_orgs(request))

    def _several_orgs(self, request: HttpRequest) -> bool:
        return len(orgs_allowing(request, self.view_right)) > 1

    @admin.display(description="Upstream", ordering="slug")
    def title(self, row: Upstream) -> str:
        return row.slug if row.name == row.slug else f"{row.slug} — {row.name}"

    @display(description="State", ordering="state__state", label=COLOURS)  # type: ignore[untyped-decorator]  # unfold ships no types
    def state_pill(self, row: Upstream) -> str:
        return state_of(row)

    @admin.display(description="Tools", ordering="tools_offered")
    def tools(self, row: Any) -> Any:
        if not row.tools_offered:
            return dash("")
        return format_html('<a class="hub-link" href="{}">{}</a>', definitions_url(row), row.tools_offered)

    @admin.display(description="What is wrong")
    def trouble(self, row: Upstream) -> Any:
        return dash(Truncator(trouble_of(row)).chars(90))

    @admin.display(description="Last answer", ordering="state__last_ok_at", empty_value="–")
    def last_ok(self, row: Upstream) -> Any:
        at = row.state.last_ok_at
        return at and f"{timesince(at, depth=1)} ago"

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if isinstance(obj, Upstream) and change and "trusted" in form.changed_data:
            services.reclassify(obj)

    @admin.action(description="List definitions again")
    def refresh(self, request: HttpRequest, rows: QuerySet[Upstream]) -> None:
        self._ask(request, list(rows), "refresh")

    @admin.action(description="Restart connections")
    def restart(self, request: HttpRequest, rows: QuerySet[Upstream]) -> None:
        self._ask(request, list(rows), "restart")

    def _ask(self, request: HttpRequest, rows: list[Upstream], what: str) -> None:
        ASKS[what](row.pk for row in rows)
        for row in rows:
            acts.record_asked(actor_of(request), row, what)
        names = ", ".join(row.slug for row in rows)
        self.message_user(request, f"{names} {ASKED[what]} within a second or two.", messages.SUCCESS)

    @admin.action(description="Switch on")
    def switch_on(self, request: HttpRequest, rows: QuerySet[Upstream]) -> None:
        self._switch(request, rows, True)

    @admin.action(description="Switch off")
    def switch_off(self, request: HttpRequest, rows: QuerySet[Upstream]) -> None:
        self._switch(request, rows, False)

    def _switch(self, request: HttpRequest, rows: QuerySet[Upstream], on: bool) -> None:
        free = rows.filter(source="").exclude(pk__in=owned_ids(Upstream))
        changed = services.set_enabled(free, on, by=actor_of(request))
        self.message_user(
            request, f"Switched {'on' if on else 'off'}: {', '.join(changed) or 'none'}.", messages.SUCCESS
        )
        if owned := [row.slug for row in rows.exclude(pk__in=free)]:
            self.message_user(request, f"Left alone, a file owns them: {', '.join(owned)}.", messages.WARNING)

    @action(description="Import servers", url_path="import-servers", icon="upload", permissions=["add"])  # type: ignore[untyped-decorator]  # unfold ships no types
    def import_servers(self, request: HttpRequest) -> HttpResponse:
        return import_page(self, request)

    def get_urls(self) -> list[URLPattern]:
        asking = self.admin_site.admin_view(require_POST(self.ask_view))
        return [path("<uuid:pk>/ask/<str:what>/", asking, name="upstreams_upstream_ask"), *super().get_urls()]

    def ask_view(self, request: HttpRequest, pk: Any, what: str) -> HttpResponse:
        """Refresh or restart one upstream, then back to its page."""
        row = self.get_object(request, str(pk))
        if row is None or what not in ASKS or not self.may_ask(request, row):
            raise Http404
        self._ask(request, [row], what)
        return HttpResponseRedirect(reverse("admin:upstreams_upstream_change", args=[row.pk]))

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        row = kwargs.get("obj")
        if row is not None:
            context |= {
                "state_name": state_of(row),
                "state_colour": COLOURS.get(state_of(row), ""),
                "fault": config_fault(row),
                "definitions_url": definitions_url(row),
                "may_ask": self.may_ask(request, row),
                "file": row.source or file_of(row),
                "offered": row.tools_offered,
                "tokens": listed_tokens(row),
                "waiting": DefinitionVersion.objects.filter(definition__upstream=row, review__in=OPEN).count(),
            }
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response


def state_of(row: Upstream) -> str:
    """One word: the state as seen last, unless the row is switched off or cannot be used at all."""
    if not row.enabled:
        return "off"
    if config_fault(row):
        return "unusable"
    return str(row.state.get_state_display())


def trouble_of(row: Upstream) -> str:
    """What keeps it from working, in words; "" when it works."""
    if not row.enabled:
        return ""
    return config_fault(row) or ("" if row.state.state == UpstreamState.State.UP else row.state.last_error)


def definitions_url(row: Upstream) -> str:
    """The list of this upstream's definitions."""
    return f"{reverse('admin:upstreams_definition_changelist')}?upstream__id__exact={row.pk}"
