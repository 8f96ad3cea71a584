"""What the pages of policy have in common."""

from django.http import HttpRequest

from mcphub.accounts.admin_base import OrgScopedAdmin
from mcphub.accounts.roles import Right


class PolicyAdmin(OrgScopedAdmin):
    """For those who manage policy; names the org only to those who see several."""

    required_right = Right.MANAGE_POLICY

    class Media:
        css = {"all": ("upstreams/admin.css",)}

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        several = self.get_queryset(request).order_by().values("org").distinct().count() > 1
        return tuple(name for name in self.list_display if several or name != "org")
