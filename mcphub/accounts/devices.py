"""Browsers in which people are signed in. Every request asks for its row, so the row's end is the session's end."""

from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest

from mcphub.accounts.models import Device, User
from mcphub.core.clock import now
from mcphub.core.peer import source_of

KEY: Final = "device"
NONE: Final = "00000000-0000-0000-0000-000000000000"
SEEN_EVERY: Final = timedelta(minutes=5)
AGENT_CHARS: Final = 200
BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
    ("curl", "curl"),
    ("python", "a Python program"),
)
SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def begin(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    """Receiver of Django's `user_logged_in`: this session belongs to a device from now on."""
    at = now()
    _forget_old(user)
    end(user, request.session.get(KEY))
    agent = request.META.get("HTTP_USER_AGENT", "")[:AGENT_CHARS]
    device = Device.objects.create(user=user, agent=agent, source=source_of(request)[:64], created_at=at, seen_at=at)
    request.session[KEY] = str(device.pk)


def is_signed_in(request: HttpRequest, user: User) -> bool:
    """Whether this session's device was not signed out meanwhile; notes that it was seen."""
    device = Device.objects.filter(pk=request.session.get(KEY, NONE), user=user).first()
    if device is None:
        return False
    at = now()
    if at - device.seen_at > SEEN_EVERY:
        Device.objects.filter(pk=device.pk).update(seen_at=at, source=source_of(request)[:64])
    return True


def of(user: User) -> list[Device]:
    """Where the person is signed in, last seen first."""
    _forget_old(user)
    return list(Device.objects.filter(user=user))


def end(user: User, device_id: Any) -> bool:
    """Sign one device of the person out; whether there was such a one."""
    return bool(device_id) and bool(Device.objects.filter(pk=device_id, user=user).delete()[0])


def end_all(user: User, session: SessionBase | None = None) -> int:
    """Sign the person out everywhere, but for `session`; on how many devices they were."""
    kept = session.get(KEY, NONE) if session is not None else NONE
    return Device.objects.filter(user=user).exclude(pk=kept).delete()[0]


def named(agent: str) -> str:
    """A browser and its system in words, as far as its own word goes."""
    browser = next((words for mark, words in BROWSERS if mark in agent), "A browser")
    system = next((f" on {words}" for mark, words in SYSTEMS if mark in agent), "")
    return browser + system


def _forget_old(user: User) -> None:
    oldest = now() - timedelta(seconds=settings.SESSION_COOKIE_AGE)
    Device.objects.filter(user=user, seen_at__lt=oldest).delete()


def has_session(request: HttpRequest) -> bool:
    """Whether the request came with a session in which somebody signed in."""
    return BACKEND_SESSION_KEY in request.session
