"""Admin pages of what an org may use, of what holds for the whole hub, and of invitations."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

from mcphub.accounts import invitations, services
from mcphub.accounts.admin_base import OrgScopedAdmin, pill
from mcphub.accounts.models import Installation, Invitation, OrgQuota
from mcphub.accounts.roles import Right, givable_roles
from mcphub.accounts.visitor import actor_of, request_rights
from mcphub.core.clock import now


def is_hub_admin(request: HttpRequest) -> bool:
    """Whether the signed-in person runs the installation."""
    return bool(getattr(request.user, "is_superuser", False) and request.user.is_active)


@admin.register(Installation)
class InstallationAdmin(OrgScopedAdmin):
    """One row, for hub admins: its list is its page."""

    required_right = Right.MANAGE_ORG
    fields = ("self_service", "members", "upstreams", "calls")

    def scoped(self, request: HttpRequest, rows: Any, right: Right) -> Any:
        return rows if is_hub_admin(request) else rows.none()

    def _may(self, request: HttpRequest, right: Right, obj: Any) -> bool:
        return is_hub_admin(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_hub_admin(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponseBase:
        if not is_hub_admin(request):
            return super().changelist_view(request, extra_context)
        row, _ = Installation.objects.get_or_create(pk=Installation.ONLY)
        return HttpResponseRedirect(reverse("admin:accounts_installation_change", args=[row.pk]))


@admin.register(OrgQuota)
class OrgQuotaAdmin(OrgScopedAdmin):
    """Owners see what their org may use; hub admins set it."""

    required_right = Right.MANAGE_ORG
    view_right = Right.MANAGE_ORG
    list_display = ("org", "members", "upstreams", "calls")
    list_select_related = ("org",)
    fields = ("org", "members", "upstreams", "calls")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_hub_admin(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_hub_admin(request) and super().has_change_permission(request, obj)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self._may(request, self.view_right, obj))


@admin.register(Invitation)
class InvitationAdmin(OrgScopedAdmin):
    """What became of invitations. They are made on the members page, which shows or mails their link."""

    required_right = Right.MANAGE_MEMBERS
    view_right = Right.MANAGE_MEMBERS
    list_display = ("email", "org", "role_list", "shown_state", "invited_by", "expires_at", "created_at")
    list_filter = ("org", "state")
    list_select_related = ("org",)
    search_fields = ("email",)
    actions = ("withdraw",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(self._may(request, self.view_right, obj))

    @admin.action(description="Withdraw")
    def withdraw(self, request: HttpRequest, rows: Any) -> None:
        rights = request_rights(request)
        for row in rows.select_related("org"):
            if frozenset(row.roles) <= givable_roles(str(row.org_id), rights.get(str(row.org_id), ())):
                self._withdraw(request, row)

    def _withdraw(self, request: HttpRequest, row: Invitation) -> None:
        try:
            invitations.withdraw(row, by=actor_of(request))
            self.message_user(request, f"The invitation of {row.email} is withdrawn.", messages.SUCCESS)
        except services.Refused as refusal:
            self.message_user(request, f"{row.email}: {refusal}", messages.ERROR)

    @admin.display(description="Roles")
    def role_list(self, row: Invitation) -> str:
        return ", ".join(row.roles)

    @pill("State", {"accepted": "success", "pending": "info", "lapsed": "warning", "declined": "danger"})
    def shown_state(self, row: Invitation) -> str:
        return "lapsed" if row.state == Invitation.State.PENDING and row.expires_at <= now() else row.state
