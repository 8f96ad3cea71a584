"""Who may read the record: answered by a function that the app with people and orgs registers at start."""

from collections.abc import Callable, Mapping

from django.http import HttpRequest

Visible = Callable[[HttpRequest], Mapping[str, str]]

_registered: list[Visible] = []


def register(visible: Visible) -> None:
    """Let `visible` answer from now on: the orgs whose record the signed-in person may read, slug by id.

    The id "" stands for what belongs to no org (sign-ins, acts of the installation).
    """
    _registered[:] = [visible]


def visible_orgs(request: HttpRequest) -> Mapping[str, str]:
    """The orgs (slug by id) whose record may be shown; none as long as nobody registered."""
    return _registered[0](request) if _registered else {}
