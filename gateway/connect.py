"""Connecting with a key: tried on the upstream where that is possible, and then kept."""

from asgiref.sync import async_to_sync

from gateway.connections import Line
from mcphub.accounts.acts import Actor
from upstreams.credentials import services, trial
from upstreams.credentials.trial import Verdict
from upstreams.selectors import Unusable, spec_of


class Refused(Exception):
    """The key was not kept; the message says why."""


def by_key(line: Line, key: str, *, by: Actor, take_over: bool = False, account: str = "") -> Verdict:
    """Keep a key for the line's holder. Raises `Refused`, `services.Occupied`."""
    secret = {"key": key}
    try:
        verdict = async_to_sync(trial.tried)(spec_of(line.upstream), secret)
    except Unusable as fault:
        raise Refused(str(fault)) from None
    if verdict.taken == "no":
        raise Refused(verdict.why)
    services.store(line.upstream, line.seat.holder, secret, by=by, take_over=take_over, account=account)
    return verdict
