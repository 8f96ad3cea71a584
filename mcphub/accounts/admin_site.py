"""The Django admin for everybody who holds a right in some org; each page narrows to what they may see."""

from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from mcphub.accounts.visitor import request_rights


class HubAdminSite(UnfoldAdminSite):  # type: ignore[misc]  # unfold ships no types
    """Signs in and out through the hub's own pages, which are throttled and on record."""

    index_title = "Configuration"

    def has_permission(self, request: HttpRequest) -> bool:
        superuser = bool(getattr(request.user, "is_superuser", False) and request.user.is_active)
        return superuser or any(request_rights(request).values())

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if self.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index"))
        if request.user.is_authenticated:
            raise PermissionDenied("You hold no right that this page needs.")
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"), reverse("sign-in"))

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        from mcphub.accounts.views import sign_out_page

        return sign_out_page(request)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return HttpResponseRedirect(reverse("set-password"))
