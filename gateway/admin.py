"""Admin pages of the authorization server: clients for hub admins, connected applications for each org."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from oauth2_provider import models as oauth
from unfold.admin import ModelAdmin

from gateway.authserver import approvals, redirects
from gateway.authserver.models import Approval
from mcphub.accounts import acts
from mcphub.accounts.admin_base import OrgScopedAdmin, pill
from mcphub.accounts.roles import Right
from mcphub.accounts.visitor import actor_of, orgs_allowing

for _model in (
    oauth.AccessToken,
    oauth.Grant,
    oauth.IDToken,
    oauth.RefreshToken,
    oauth.DeviceGrant,
    oauth.Application,
):
    if admin.site.is_registered(_model):
        admin.site.unregister(_model)  # the library's own pages show codes, and know no orgs


class ClientForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    """A public client that an operator vouches for."""

    redirect_uris = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 4}),
        label="Redirect URIs",
        help_text="One a line. Those of loopback (http://127.0.0.1/…) stand for every port.",
    )

    def clean_redirect_uris(self) -> str:
        uris = str(self.cleaned_data["redirect_uris"]).split()
        for uri in uris:
            if fault := redirects.fault(uri):
                raise forms.ValidationError(f"{uri} {fault}.")
        return " ".join(uris)


@admin.register(oauth.Application)
class ClientAdmin(ModelAdmin):  # type: ignore[misc]  # unfold ships no types
    """Every client of the installation, for hub admins, without secrets. With a client end its tokens."""

    form = ClientForm
    list_display = ("title", "source", "redirects_to", "people", "created")
    list_filter = ("registration_source",)
    search_fields = ("name", "client_id")
    fields = ("name", "client_id", "redirect_uris", "registration_source", "created")
    readonly_fields = ("client_id", "registration_source", "created")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Any]":
        living = Count("approvals", filter=Q(approvals__ended_at=None))
        found: QuerySet[Any] = super().get_queryset(request).annotate(living=living)
        return found

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(getattr(request.user, "is_superuser", False))

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)

    has_add_permission = has_module_permission
    has_delete_permission = has_view_permission

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What a client says of itself is not changed for it."""
        return self.has_module_permission(request) and (obj is None or obj.registration_source == "manual")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.client_type = obj.CLIENT_PUBLIC
            obj.authorization_grant_type = obj.GRANT_AUTHORIZATION_CODE
            obj.client_secret, obj.hash_client_secret = "", False
        super().save_model(request, obj, form, change)
        self._record(request, obj, "change" if change else "create")

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        approvals.end(approvals.living().filter(application=obj), approvals.BY_OPERATOR, actor_of(request))
        self._record(request, obj, "delete")
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: "QuerySet[Any]") -> None:
        for client in queryset:
            self.delete_model(request, client)

    @staticmethod
    def _record(request: HttpRequest, client: Any, verb: str) -> None:
        facts = {"client": client.client_id, "name": client.name, "redirect_uris": client.redirect_uris.split()}
        acts.record(actor_of(request), None, f"oauth_client.{verb}", client.name or client.client_id, after=facts)

    @admin.display(description="Client")
    def title(self, client: Any) -> str:
        return str(client.name or client.client_id)

    @pill("Known by", {"an operator": "success", "its document": "info", "its own word": "warning"})
    def source(self, client: Any) -> str:
        return {"manual": "an operator", "cimd": "its document"}.get(client.registration_source, "its own word")

    @admin.display(description="Answers go to")
    def redirects_to(self, client: Any) -> str:
        return ", ".join(sorted({redirects.host_of(uri) for uri in client.redirect_uris.split()}))

    @admin.display(description="Connected", ordering="living")
    def people(self, client: Any) -> int:
        return int(client.living)


@admin.register(Approval)
class ApprovalAdmin(OrgScopedAdmin):
    """Which applications reach the org, and for whom; one for all of a person's orgs stands in each of them."""

    required_right = Right.MANAGE_MEMBERS
    list_display = ("client", "user", "reaches", "redirect_host", "state", "created_at", "last_used_at")
    search_fields = ("application__name", "application__client_id", "user__email")
    fields = ("client", "client_id", "user", "reaches", "path", "redirect_host", "state", "created_at",
              "last_used_at", "last_used_from", "ended_at", "end_reason")  # fmt: skip
    readonly_fields = fields
    actions = ("end_connections",)

    def scoped(self, request: HttpRequest, rows: Any, right: Right) -> Any:
        orgs = orgs_allowing(request, right)
        own = Q(org__in=orgs) | Q(org=None, user__memberships__org__in=orgs)
        return rows.filter(own, redeemed_at__isnull=False).select_related("application", "user", "org").distinct()

    def _may(self, request: HttpRequest, right: Right, obj: Any) -> bool:
        if obj is None:
            return bool(orgs_allowing(request, right))
        pk = obj.pk if isinstance(obj, Approval) else obj
        return bool(self.scoped(request, Approval.objects.filter(pk=pk), right).exists())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.action(description="End: no more calls, open streams close")
    def end_connections(self, request: HttpRequest, rows: Any) -> None:
        living = rows.filter(ended_at=None)
        elsewhere = living.filter(org=None)
        if not getattr(request.user, "is_superuser", False) and elsewhere:
            text = (
                "One for all orgs of a person reaches others than yours too: remove the member, or ask a hub admin."
            )
            self.message_user(request, text, messages.WARNING)
            living = living.exclude(org=None)
        ended = approvals.end(living, approvals.BY_OPERATOR, actor_of(request))
        self.message_user(request, f"{ended} ended.")

    @admin.display(description="Application")
    def client(self, approval: Approval) -> str:
        return str(approval.application.name or approval.application.client_id)

    @admin.display(description="Client id")
    def client_id(self, approval: Approval) -> str:
        return str(approval.application.client_id)

    @admin.display(description="In")
    def reaches(self, approval: Approval) -> str:
        return str(approval.org) if approval.org else "all of the person's"

    @pill("State", {"connected": "success", "ended": "danger"})
    def state(self, approval: Approval) -> str:
        return "ended" if approval.ended_at else "connected"
