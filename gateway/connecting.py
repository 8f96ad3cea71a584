"""Calls whose person has not connected the account that they need, or not with enough rights."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from django.urls import reverse

from gateway.dialogue import MAY_NEED_INPUT
from gateway.failures import Failure
from gateway.pages import Page, Pages
from gateway.router import Reach
from gateway.run import Ended, Run
from gateway.types import Request
from mcphub.accounts.links import absolute
from mcphub.accounts.roles import RIGHTS, Right
from upstreams.credentials import links
from upstreams.credentials.vault import Vault
from upstreams.errors import NeedsConnection, NeedsScope, UpstreamError
from upstreams.naming import SEPARATOR
from upstreams.types import UpstreamSpec

KIND: Final = "connect"
ASK_OPERATOR: Final = "An operator has to connect it."


class Connecting:
    """Sends people to the page where they connect (`Pages`), and lets their retries wait for it."""

    def __init__(self, vault: Vault, pages: Pages) -> None:
        self._vault = vault
        self._pages = pages
        pages.waits[KIND] = self._wait
        vault.on_connected.append(lambda upstream_id, holder: pages.happened(_awaited(upstream_id, holder)))

    def turn(self, run: Run, error: UpstreamError) -> Ended | None:
        """The end of a call that an account is missing for: `NeedsConnection` or `NeedsScope`."""
        spec = run.call.spec
        failure = self.lacking(spec, run.reach, error)
        if not failure.link:
            return run.failed(failure)
        holder = spec.account_of(run.request.principal.id) or ""
        page = Page(failure.link, message(spec, error), _awaited(spec.id, holder))
        return self._pages.turn(run, replace(failure, link=""), page)

    def lacking(self, spec: UpstreamSpec, reach: Reach, error: UpstreamError) -> Failure:
        """What an upstream's refusal means to this person; with the page's link if they can do something about it."""
        failure, holder = Failure.of(error), spec.account_of(reach.principal.id)
        if holder is None or not isinstance(error, NeedsConnection | NeedsScope):
            return failure
        if not holder and not self._may_fill(reach):
            return replace(failure, text=f"{failure.text} {ASK_OPERATOR}")
        return replace(failure, link=links.connect_link(spec.id, holder, error.scopes))

    def unconnected(self, reach: Reach) -> Mapping[str, str]:
        """The upstreams of the route whose tools this person could have and does not: slug → where to connect."""
        holder = reach.principal.id
        missing = sorted(
            spec.slug
            for spec in reach.specs()
            if spec.credential_mode == "per-user"
            and not self._vault.is_connected(spec.id, holder)
            and reach.sees(spec)
        )
        return dict.fromkeys(missing, connect_url()) if missing else {}

    def unknown(self, request: Request, reach: Reach) -> Failure | None:
        """What a name that means nothing to this principal is answered with, where it may be one of an upstream that
        they have not connected; the same for what is hidden and what is absent.
        """
        name = request.params.get("name")
        if request.method not in MAY_NEED_INPUT or not isinstance(name, str):
            return None
        for slug in self.unconnected(reach):
            if reach.own_names or name.startswith(slug + SEPARATOR):
                spec = reach.snapshot.by_slug[slug]
                link = links.connect_link(spec.id, reach.principal.id)
                text = f"You have not connected your account for {slug}."
                return Failure("needs_connection", text, "not_sent", link=link)
        return None

    @staticmethod
    def _may_fill(reach: Reach) -> bool:
        """Built-in roles alone: what an org's own carry would be read from the database."""
        return any(Right.MANAGE_UPSTREAMS in RIGHTS.get(role, ()) for role in reach.principal.roles)

    async def _wait(self, which: str, since: float, within_s: float) -> None:
        upstream_id, _, holder = which.partition("/")
        await self._vault.connected(upstream_id, holder, since, within_s)


def connect_url() -> str:
    """The page with everybody's own connections."""
    return absolute(reverse("connections"))


def message(spec: UpstreamSpec, error: UpstreamError) -> str:
    """What a person is told who is asked to open the page."""
    name = spec.name or spec.slug
    if error.reason == "needs_scope":
        return f"Let {name} do more through MCP Hub: {error.scopes or 'it asks for more rights'}."
    return f"Connect your account for {name} to go on."


def _awaited(upstream_id: str, holder: str) -> str:
    return f"{KIND} {upstream_id}/{holder}"
