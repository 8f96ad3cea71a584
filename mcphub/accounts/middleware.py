"""What is asked at every request of a signed-in person, before any page."""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse

from mcphub.accounts import devices
from mcphub.accounts.models import User

View = Callable[[HttpRequest], HttpResponse]

OPEN: Final = ("set-password", "sign-out")
API: Final = "/api/"
CHANGE_FIRST: Final = "Your password was prepared by somebody else. Choose one of your own first, at set-password."


class SignedIn:
    """Ends the session of a device that was signed out; who has a prepared password can do nothing but change it."""

    def __init__(self, get_response: View) -> None:
        self._view: Final = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if devices.has_session(request) and isinstance(request.user, User):
            if not devices.is_signed_in(request, request.user):
                logout(request)
            elif request.user.must_change_password and not _may_go_on(request):
                return _change_first(request)
        return self._view(request)


def _may_go_on(request: HttpRequest) -> bool:
    return request.path in {reverse(name) for name in OPEN}


def _change_first(request: HttpRequest) -> HttpResponse:
    if request.path_info.startswith(API):
        return JsonResponse({"error": {"code": "change_password", "message": CHANGE_FIRST, "fields": []}}, status=403)
    query = urlencode({"next": request.get_full_path()}) if request.method == "GET" else ""
    return HttpResponseRedirect(f"{reverse('set-password')}{'?' if query else ''}{query}")
