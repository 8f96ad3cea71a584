"""The page on which a person pastes an `mcpServers` document, looks at what it would do, and confirms."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from mcphub.accounts.admin_base import OrgScopedAdmin
from mcphub.accounts.models import Org
from mcphub.accounts.visitor import actor_of, orgs_allowing
from upstreams.formfields import SecretPairsField
from upstreams.importing import ImportPlan, renamed
from upstreams.services import apply_import, plan_import

EXAMPLE = '{\n  "mcpServers": {\n    "time": {"command": "uvx", "args": ["mcp-server-time"]}\n  }\n}'


class ImportForm(forms.Form):
    """What to import, and where to."""

    org = forms.ModelChoiceField(queryset=Org.objects.none(), widget=UnfoldAdminSelectWidget, empty_label=None)
    document = forms.CharField(
        label="Servers file",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 14, "spellcheck": "false", "placeholder": EXAMPLE}),
        help_text="JSON with an object <code>mcpServers</code>, as desktop clients keep it.",
    )
    variables = SecretPairsField(
        "=",
        rows=3,
        label="Variables",
        help_text="<code>NAME=value</code>, one a line, for every <code>${NAME}</code> in the file.",
    )

    def __init__(self, *args: Any, orgs: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["org"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = orgs
        field.initial = orgs.first()
        if orgs.count() == 1:
            field.widget = forms.HiddenInput()

    def plan(self) -> ImportPlan:
        """What the cleaned input would do."""
        given = {name: value or "" for name, value in self.cleaned_data["variables"].items()}
        return plan_import(self.cleaned_data["org"], self.cleaned_data["document"], environment=given)


def import_page(page: OrgScopedAdmin, request: HttpRequest) -> HttpResponse:
    """Paste, look, confirm. Nothing is written before the last step, and then all or nothing."""
    orgs = Org.objects.filter(pk__in=orgs_allowing(request, page.required_right))
    form = ImportForm(request.POST or None, orgs=orgs)
    plan = form.plan() if request.method == "POST" and form.is_valid() else None
    if plan is not None and "confirm" in request.POST:
        chosen = set(request.POST.getlist("chosen"))
        plan = renamed(plan, {item.name: request.POST.get(f"slug:{item.name}", item.slug) for item in plan.upstreams})
        if not plan.faults and (made := _apply(request, plan, chosen)):
            messages.success(request, f"Imported: {', '.join(made)}.")
            return HttpResponseRedirect(reverse("admin:upstreams_upstream_changelist"))
        if not chosen:
            messages.warning(request, "Choose at least one server.")
    context = {**page.admin_site.each_context(request), "title": "Import servers", "form": form, "plan": plan}
    return TemplateResponse(request, "admin/upstreams/upstream/import.html", {**context, "opts": page.model._meta})


def _apply(request: HttpRequest, plan: ImportPlan, chosen: set[str]) -> list[str]:
    try:
        return [row.slug for row in apply_import(plan, by=actor_of(request), chosen=chosen)]
    except IntegrityError:
        messages.error(request, "One of these names was taken in the meantime; look again.")
        return []
