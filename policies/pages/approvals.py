"""The admin page of how an org goes about approvals; held calls themselves are in the dashboard's inbox."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminTextInputWidget

from mcphub.accounts.admin_base import OneOrgForm
from policies.approvals.models import ApprovalSettings
from policies.approvals.settings import give_secret
from policies.pages.base import PolicyAdmin


class ApprovalSettingsForm(OneOrgForm):
    """Where held calls are told, and who may answer."""

    class Meta:
        model = ApprovalSettings
        fields = ("org", "own_calls", "webhook_url")
        widgets = {"webhook_url": UnfoldAdminTextInputWidget}
        help_texts = {
            "webhook_url": "Told of held calls (Standard Webhooks), never of arguments. Its secret is shown once."
        }


@admin.register(ApprovalSettings)
class ApprovalSettingsAdmin(PolicyAdmin):
    """One row an org."""

    form = ApprovalSettingsForm
    list_display = ("__str__", "own_calls", "webhook_url")
    list_select_related = ("org",)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A new address gets a new secret, which is shown this once."""
        secret = ""
        if "webhook_url" in form.changed_data:
            secret = give_secret(obj, obj.webhook_url)
        super().save_model(request, obj, form, change)
        if secret:
            messages.warning(request, f"The webhook's secret, shown only now: {secret}")
