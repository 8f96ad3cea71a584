"""Resources that are switched off stay off however a client addresses them."""

from types import MappingProxyType

import pytest

from gateway.calls import Refused, resources_read
from gateway.catalogue import Catalogue
from gateway.router import Reach
from gateway.snapshot import OrgSnapshot
from mcphub.core.principal import OrgRef, Principal
from tests.gateway.test_views import entry
from tests.policies.build import rule, ruleset
from upstreams.types import ClientFacts, UpstreamSpec

ORG = OrgRef("org", "org")
SPEC = UpstreamSpec("id-a", ORG.id, "a", 1, "stdio")
ROUTES = [(False, ""), (False, "hub+a:"), (True, "")]
"""Everything at once by bare and by wrapped URI, and the upstream alone."""


def reach(*, alone: bool) -> Reach:
    usable = entry("a", "day://open", "resource"), entry("a", "{+any}", "template")
    snapshot = OrgSnapshot(
        ORG,
        1,
        (),
        ruleset(rule("allow", kinds=("resource", "template"))),
        MappingProxyType({SPEC.id: SPEC}),
        MappingProxyType({SPEC.slug: SPEC}),
        Catalogue(usable),
        off=frozenset({(SPEC.id, "note://closed")}),
        off_templates={SPEC.id: frozenset({"day://{day}"}), "id-b": frozenset({"{+any}"})},
    )
    principal = Principal("key:1", "service", "k", ORG, frozenset())
    return Reach(snapshot, principal, ClientFacts(), SPEC if alone else None)


@pytest.mark.parametrize(("alone", "prefix"), ROUTES)
@pytest.mark.parametrize("uri", ["note://closed", "day://monday"])
def test_switched_off_resource_or_template_cannot_be_read(alone: bool, prefix: str, uri: str) -> None:
    with pytest.raises(Refused, match=f"Unknown resource: {prefix.replace('+', '.')}{uri}"):
        resources_read({"uri": prefix + uri}, reach(alone=alone))


@pytest.mark.parametrize(("alone", "prefix"), ROUTES)
@pytest.mark.parametrize("uri", ["note://open", "day://open"])
def test_its_neighbours_stay_readable(alone: bool, prefix: str, uri: str) -> None:
    call = resources_read({"uri": prefix + uri}, reach(alone=alone))
    assert (call.spec, call.params["uri"]) == (SPEC, uri)
