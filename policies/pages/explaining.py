"""The page that explains a decision before anybody calls: who, what, with which arguments."""

import json
from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from mcphub.accounts.models import ApiKey, Membership, Org
from mcphub.accounts.roles import Right
from mcphub.accounts.selectors import principal_named
from mcphub.accounts.visitor import orgs_allowing
from policies.explaining import Explanation, UnknownTool, explain
from policies.types import KINDS
from upstreams.models import Definition

OFFERED: Final = 500


class ExplainForm(forms.Form):
    """A question to policy. Nothing is stored."""

    org = forms.ModelChoiceField(Org.objects.none(), to_field_name="slug", widget=UnfoldAdminSelectWidget)
    principal = forms.CharField(
        label="Who", help_text="E-mail of a member, or name of a key.", widget=UnfoldAdminTextInputWidget
    )
    kind = forms.ChoiceField(choices=[(kind, kind) for kind in KINDS[:3]], widget=UnfoldAdminSelectWidget)
    name = forms.CharField(label="What", help_text="As clients call it.", widget=UnfoldAdminTextInputWidget)
    arguments = forms.CharField(
        required=False,
        help_text="A JSON object. Empty: whatever the arguments are.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "spellcheck": "false"}),
    )

    def __init__(self, orgs: Collection[UUID], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = Org.objects.filter(pk__in=orgs)
        self.fields["org"].queryset = rows  # type: ignore[attr-defined]  # the field declared above
        self.fields["org"].initial = first.slug if (first := rows.first()) else None
        self.fields["org"].empty_label = None  # type: ignore[attr-defined]
        for field, options in (("principal", "explain-people"), ("name", "explain-names")):
            self.fields[field].widget.attrs |= {"list": options, "autocomplete": "off", "spellcheck": "false"}

    def clean_arguments(self) -> dict[str, Any] | None:
        text = self.cleaned_data["arguments"].strip()
        if not text:
            return None
        try:
            found = json.loads(text)
        except ValueError as fault:
            raise forms.ValidationError(f"This is not JSON: {fault}.") from None
        if not isinstance(found, dict):
            raise forms.ValidationError("Write a JSON object.")
        return found


def explain_page(request: HttpRequest) -> HttpResponse:
    """The question and, once it is asked, the answer; to HTMX the answer alone."""
    orgs = [UUID(org) for org in orgs_allowing(request, Right.VIEW_CONFIG)]
    if not orgs:
        raise Http404
    form = ExplainForm(orgs, request.GET if "name" in request.GET else None)
    found = _answer(form) if form.is_bound and form.is_valid() else None
    context = {**admin.site.each_context(request), "title": "Explain", "form": form, "found": found}
    if request.headers.get("HX-Request"):
        return TemplateResponse(request, "admin/policies/rule/explained.html", context)
    return TemplateResponse(request, "admin/policies/rule/explain.html", {**context, **_suggestions(orgs)})


def _answer(form: ExplainForm) -> Explanation | None:
    asked = form.cleaned_data
    principal = principal_named(asked["org"].pk, asked["principal"])
    if principal is None:
        form.add_error("principal", "No member and no working key is called so.")
        return None
    try:
        return explain(asked["org"], principal, asked["name"], asked["arguments"], asked["kind"])
    except UnknownTool as unknown:
        form.add_error("name", f"{unknown}.")
        return None


def _suggestions(orgs: Collection[UUID]) -> dict[str, list[str]]:
    members = Membership.objects.filter(org__in=orgs, user__is_active=True).values_list("user__email", flat=True)
    keys = ApiKey.objects.filter(org__in=orgs, revoked_at=None).values_list("name", flat=True)
    offered = Definition.objects.filter(upstream__org__in=orgs, entries__isnull=False).distinct()
    names = [row.public_name for row in offered.select_related("upstream")[:OFFERED]]
    return {"people": sorted({*members, *keys})[:OFFERED], "names": sorted(set(names))}
