"""The pages of rules: the ordered list, and a form that shows what the rule touches while it is written."""

from typing import Any, Final

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_GET, require_POST
from unfold.decorators import action

from mcphub.accounts.admin_base import pill
from mcphub.accounts.roles import Right
from mcphub.accounts.visitor import actor_of, orgs_allowing
from policies import replays
from policies.drafts import values_of
from policies.forms import RuleForm
from policies.models import Rule
from policies.pages.base import PolicyAdmin
from policies.pages.explaining import explain_page
from policies.service import review_rule
from upstreams.naming import public_name

SHOWN: Final = 50
DAYS: Final = (7, 1, 30, 90)
EFFECT_COLOURS = {"Allow": "success", "Deny": "danger", "Ask a person": "warning"}


@admin.register(Rule)
class RuleAdmin(PolicyAdmin):
    form = RuleForm
    list_display = ("name", "priority", "effect_pill", "org", "speaks_of", "made_by", "condition_short", "enabled")
    list_editable = ("priority", "enabled")
    list_filter = ("org", "effect", "enabled")
    list_select_related = ("org",)
    search_fields = ("name", "reason", "condition")
    ordering = ("priority", "name")
    list_fullwidth = True
    actions = ("switch_on", "switch_off")
    actions_list = ("explain",)
    warn_unsaved_form = True
    change_form_after_template = "admin/policies/rule/panel.html"
    fieldsets = (
        (None, {"fields": ("name", "org", ("effect", "priority"), "reason", "enabled")}),
        ("What is called", {"fields": ("kinds", ("upstreams", "tools"), "risks")}),
        ("Who calls", {"fields": (("roles", "applications"),)}),
        ("And only if", {"fields": ("condition", ("argument", "operator"), "value")}),
    )

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path("preview/", view(require_POST(self.preview)), name="policies_rule_preview"),
            path("replay/", view(require_POST(self.replay)), name="policies_rule_replay"),
            path("explain/", view(require_GET(explain_page)), name="policies_rule_explain"),
        ]
        return [*own, *super().get_urls()]

    @action(description="Explain", icon="help")  # type: ignore[untyped-decorator]  # unfold ships no types
    def explain(self, request: HttpRequest) -> HttpResponse:
        """A plain link to the page that explains."""
        return HttpResponseRedirect(reverse("admin:policies_rule_explain"))

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        row = self.get_object(request, object_id) if object_id else None
        context = panel(row) if row else {}
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def preview(self, request: HttpRequest) -> HttpResponse:
        """What the rule in the posted form would touch; nothing is saved. `saved` is the id of the row, if any."""
        row = self.row_or_404(request, request.POST["saved"]) if request.POST.get("saved") else None
        form = self.get_form(request, row, change=row is not None)(request.POST, instance=row)
        rule = _drafted(form)
        if str(rule.org_id) not in orgs_allowing(request, self.required_right):
            raise Http404
        return TemplateResponse(request, "admin/policies/rule/preview.html", {"form": form, **panel(rule)})

    def replay(self, request: HttpRequest) -> HttpResponse:
        """Have the rule in the posted form, or the policy without it, tried on the calls of the last days."""
        row = self.row_or_404(request, request.POST["saved"]) if request.POST.get("saved") else None
        saved = row.name if row else ""
        form = self.get_form(request, row, change=row is not None)(request.POST, instance=row)
        valid, rule = form.is_valid(), form.instance
        readable = orgs_allowing(request, Right.READ_AUDIT) & orgs_allowing(request, self.required_right)
        if str(rule.org_id) not in readable:
            raise Http404
        without = bool(request.POST.get("without"))
        if not valid and not without:
            return TemplateResponse(request, "admin/policies/rule/faults.html", {"form": form})
        asked = replays.ask(
            rule.org,
            f"Without {saved}" if without else f"With {rule.name}",
            document(rule, saved, without=without),
            int(request.POST.get("days", DAYS[0])) if request.POST.get("days", "").isdecimal() else DAYS[0],
            by=actor_of(request),
        )
        return _to(request, reverse("admin:policies_replay_change", args=[asked.pk]))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for warning in review_rule(obj.org_id, obj.spec()).warnings:
            messages.warning(request, f"{obj.name}: {warning}")

    @admin.action(description="Switch on")
    def switch_on(self, request: HttpRequest, rows: Any) -> None:
        self._switch(request, rows, True)

    @admin.action(description="Switch off")
    def switch_off(self, request: HttpRequest, rows: Any) -> None:
        self._switch(request, rows, False)

    def _switch(self, request: HttpRequest, rows: Any, on: bool) -> None:
        for row in rows:
            before = self._stored(row)
            row.enabled = on
            row.save(update_fields=["enabled"])
            self.record(request, row, "change", before)

    @pill("Effect", EFFECT_COLOURS)
    def effect_pill(self, rule: Rule) -> str:
        return rule.get_effect_display()

    @admin.display(description="Called")
    def speaks_of(self, rule: Rule) -> str:
        risks = f" ({', '.join(rule.risks)})" if rule.risks else ""
        names = f"{_any(rule.upstreams)} / {_any(rule.tools)}" if rule.upstreams or rule.tools else "anything"
        kinds = "" if rule.kinds == ["tool"] else f"{', '.join(rule.kinds)}: "
        return f"{kinds}{names}{risks}"

    @admin.display(description="By")
    def made_by(self, rule: Rule) -> str:
        through = f" through {', '.join(rule.applications)}" if rule.applications else ""
        return f"{', '.join(rule.roles) or 'everybody'}{through}"

    @admin.display(description="Condition")
    def condition_short(self, rule: Rule) -> str:
        return rule.condition if len(rule.condition) <= 60 else f"{rule.condition[:59]}…"


def document(rule: Rule, saved: str, *, without: bool) -> dict[str, Any]:
    """The draft that a form stands for; `saved` is the name under which the rule is stored."""
    if without:
        return {"remove": [saved]}
    renamed = [saved] if saved and saved != rule.name else []
    return {"put": [values_of(rule)], "remove": renamed}


def _to(request: HttpRequest, url: str) -> HttpResponse:
    """Go there, asked by HTMX or not."""
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)


def _any(globs: list[str]) -> str:
    return ", ".join(globs) or "*"


def _drafted(form: Any) -> Rule:
    """The rule as typed so far: fields with faults keep what they were."""
    form.is_valid()
    rule: Rule = form.instance
    return rule


def panel(rule: Rule) -> dict[str, Any]:
    """What the panel under the form shows of a rule."""
    review = review_rule(rule.org_id, rule.spec())
    rows = [
        {"target": one, "name": public_name(one.upstream, one.name) if one.kind in ("tool", "prompt") else one.name}
        for one in review.touched[:SHOWN]
    ]
    return {"review": review, "touched": rows, "more": len(review.touched) - len(rows), "days": DAYS}
