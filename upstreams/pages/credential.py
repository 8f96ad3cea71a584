"""Who is connected with which upstream, for operators: states, and never a secret."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.timesince import timesince

from mcphub.accounts.admin_base import OrgScopedAdmin, pill
from mcphub.accounts.models import ApiKey, User
from mcphub.accounts.roles import Right
from mcphub.accounts.visitor import actor_of
from upstreams.credentials import services
from upstreams.models import Credential
from upstreams.pages.recorded import dash

COLOURS = {"connected": "success", "expired": "warning", "failing": "danger", "needs connecting": "danger"}


@admin.register(Credential)
class CredentialAdmin(OrgScopedAdmin):
    view_right = Right.VIEW_CONFIG
    required_right = Right.MANAGE_UPSTREAMS
    list_display = (
        "upstream",
        "who",
        "state_pill",
        "account",
        "connected_by",
        "connected_at",
        "last_used",
        "wrong",
    )
    list_filter = ("state", "upstream")
    list_select_related = ("upstream__org",)
    search_fields = ("holder", "account", "connected_by", "upstream__slug")
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Its holder connects it, on the page of connections; here it is looked at and revoked."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._may(request, self.view_right, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description="Whose", ordering="holder")
    def who(self, row: Credential) -> str:
        return name_of(row.holder)

    @pill("State", COLOURS)
    def state_pill(self, row: Credential) -> str:
        return str(row.get_state_display())

    @admin.display(description="Last used", ordering="last_used_at")
    def last_used(self, row: Credential) -> Any:
        return f"{timesince(row.last_used_at, depth=1)} ago" if row.last_used_at else dash("")

    @admin.display(description="What is wrong")
    def wrong(self, row: Credential) -> Any:
        return dash(row.problem)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whether the person may take accounts away in some org."""
        return self._may(request, self.required_right, None)

    @admin.action(description="Revoke: forget the account", permissions=["revoke"])
    def revoke(self, request: HttpRequest, rows: QuerySet[Credential]) -> None:
        found = list(rows.select_related("upstream__org"))
        for row in found:
            services.disconnect(row, by=actor_of(request))
        self.message_user(request, f"Forgotten: {len(found)}. They can be connected again.", messages.SUCCESS)


def name_of(holder: str) -> str:
    """A principal's id in words: an e-mail, a key's name, everybody."""
    kind, _, key = holder.partition(":")
    if kind == "user":
        return User.objects.filter(pk=key).values_list("email", flat=True).first() or holder
    if kind == "key":
        name = ApiKey.objects.filter(pk=key).values_list("name", flat=True).first()
        return f"service key {name}" if name else holder
    return "everybody"
