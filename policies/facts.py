"""What conditions see of who asks. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from mcphub.core.principal import NO_ATTRIBUTES, Principal
from policies.types import CallRequest, Target
from upstreams.types import ClientFacts

_DECLARED: Final = ("name", "title", "version")


def principal_facts(principal: Principal) -> dict[str, Any]:
    """`principal` in conditions. All of it is proven by the credential; make it once per principal."""
    return {
        "id": principal.id,
        "kind": principal.kind,
        "label": principal.label,
        "org": principal.org.slug,
        "roles": sorted(principal.roles),
        "application": principal.application,
        "attributes": dict(principal.attributes),
    }


def client_facts(client: ClientFacts) -> dict[str, Any]:
    """`client` in conditions: what the program said of itself, which nobody proved."""
    declared = {name: client.info[name] for name in _DECLARED if name in client.info}
    return {**declared, "capabilities": dict(client.capabilities)}


def request_for(
    principal: Principal,
    target: Target,
    *,
    facts: Mapping[str, Any],
    client: Mapping[str, Any] = NO_ATTRIBUTES,
    arguments: Callable[[], Mapping[str, Any]] | None = None,
) -> CallRequest:
    """The request that policy decides on; `facts` are the principal's from `principal_facts`."""
    return CallRequest(
        target=target,
        roles=principal.roles,
        application=principal.application,
        principal=facts,
        client=client,
        arguments=arguments,
    )
