"""The pages of attribute mappings, with a panel that shows what given claims would give."""

import json
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST

from mcphub.accounts.giving import GivingAdmin
from mcphub.accounts.models import Org
from mcphub.accounts.visitor import actor_of, orgs_allowing
from mcphub.core.strictjson import BadJson, loads
from policies import mappings
from policies.mapping import PEOPLE, Mapped
from policies.mappingform import MappingForm
from policies.models import AttributeMapping

EXAMPLE = json.dumps({"email": "ann@example.org", "groups": ["engineering"], "contractor": False}, indent=2)


@admin.register(AttributeMapping)
class AttributeMappingAdmin(GivingAdmin):
    """For those who manage members: a mapping makes people what they are."""

    form = MappingForm
    list_display = ("name", "org", "says", "gives", "speaks_of", "enabled")
    list_filter = ("org", "enabled")
    search_fields = ("name", "claim")
    fields = ("name", "org", "claim", "values", "roles", "sources", "enabled")
    change_form_after_template = "admin/policies/attributemapping/panel.html"

    class Media:
        css = {"all": ("upstreams/admin.css",)}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.preview))
        return [path("preview/", view, name="policies_attributemapping_preview"), *super().get_urls()]

    def changeform_view(
        self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        context = {"example": EXAMPLE, "people": PEOPLE}
        return super().changeform_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def preview(self, request: HttpRequest) -> HttpResponse:
        """What the claims that were typed would give, with the mapping as typed so far; nothing is saved."""
        row = self.row_or_404(request, request.POST["saved"]) if request.POST.get("saved") else None
        form = self.get_form(request, row, change=row is not None)(request.POST, instance=row)
        form.is_valid()
        draft: AttributeMapping = form.instance
        if str(draft.org_id) not in orgs_allowing(request, self.required_right):
            raise Http404
        found, fault = _tried(draft, request.POST.get("claims", ""), request.POST.get("source", "") or PEOPLE)
        context = {"found": found, "fault": fault, "form": form, "own": draft.name}
        return TemplateResponse(request, "admin/policies/attributemapping/preview.html", context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        mappings.apply_to_members(obj.org)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        mappings.delete_mapping(obj, by=actor_of(request))

    @admin.display(description="When")
    def says(self, row: AttributeMapping) -> str:
        return f"{row.claim}: {' or '.join(row.values)}"

    @admin.display(description="Roles")
    def gives(self, row: AttributeMapping) -> str:
        return ", ".join(row.roles)

    @admin.display(description="Of whom")
    def speaks_of(self, row: AttributeMapping) -> str:
        return ", ".join(row.sources) or "anybody"


def _tried(draft: AttributeMapping, text: str, source: str) -> tuple[Mapped | None, str]:
    try:
        claims = loads(text.encode(errors="surrogatepass"))
    except BadJson as error:
        return None, f"The claims are not JSON: {error}."
    if not isinstance(claims, dict):
        return None, "Write the claims as one JSON object."
    draft.values, draft.roles, draft.sources = draft.values or [], draft.roles or [], draft.sources or []
    return mappings.preview(Org.objects.get(pk=draft.org_id), source, claims, draft), ""
