"""Where one is signed in, and how to end that."""

from dataclasses import dataclass
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from mcphub.accounts import acts, devices
from mcphub.accounts.models import Device, User
from mcphub.core.peer import source_of


@dataclass(frozen=True, slots=True)
class Line:
    """A device as the page shows it."""

    device: Device
    words: str
    here: bool


@never_cache
@require_GET
@login_required
def devices_page(request: HttpRequest) -> HttpResponse:
    """The browsers in which the person is signed in, this one marked."""
    own = request.session.get(devices.KEY)
    lines = [Line(item, devices.named(item.agent), str(item.pk) == own) for item in devices.of(_user(request))]
    return render(request, "people/devices.html", {"lines": lines, "others": len(lines) > 1})


@require_POST
@login_required
def end_device(request: HttpRequest, device: UUID) -> HttpResponse:
    """Sign one browser out."""
    user = _user(request)
    if not devices.end(user, device):
        raise Http404
    acts.record(acts.person(user, source_of(request)), None, "device.end", user.email)
    messages.success(request, "That browser is signed out.")
    return HttpResponseRedirect(reverse("devices"))


@require_POST
@login_required
def end_others(request: HttpRequest) -> HttpResponse:
    """Sign out everywhere but here."""
    user = _user(request)
    ended = devices.end_all(user, request.session)
    acts.record(acts.person(user, source_of(request)), None, "device.end_others", user.email, after={"ended": ended})
    messages.success(request, "You are signed out everywhere else.")
    return HttpResponseRedirect(reverse("devices"))


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
