"""What conditions see of principals and clients."""

from types import MappingProxyType

from mcphub.core.principal import OrgRef, Principal
from policies.facts import client_facts, principal_facts, request_for
from tests.policies.build import target
from upstreams.types import ClientFacts

ANN = Principal(
    "user:1",
    "person",
    "ann@example.org",
    OrgRef("7", "north"),
    frozenset({"viewer", "dev"}),
    application="cursor",
    attributes=MappingProxyType({"team": "red"}),
)


def test_of_the_principal_what_its_credential_proves() -> None:
    assert principal_facts(ANN) == {
        "id": "user:1",
        "kind": "person",
        "label": "ann@example.org",
        "org": "north",
        "roles": ["dev", "viewer"],
        "application": "cursor",
        "attributes": {"team": "red"},
    }


def test_of_the_client_what_it_says_of_itself() -> None:
    said = ClientFacts({"roots": {}}, {"name": "a", "title": "A", "version": "1", "websiteUrl": "https://a.example"})
    assert client_facts(said) == {"name": "a", "title": "A", "version": "1", "capabilities": {"roots": {}}}
    assert client_facts(ClientFacts()) == {"capabilities": {}}


def test_the_request_that_is_decided_on() -> None:
    def arguments() -> dict[str, int]:
        return {"n": 1}

    facts, client = principal_facts(ANN), {"name": "a"}
    request = request_for(ANN, target(), facts=facts, client=client, arguments=arguments)
    assert (request.target, request.roles, request.application) == (target(), ANN.roles, "cursor")
    assert (request.principal, request.client, request.arguments) == (facts, client, arguments)
    bare = request_for(ANN, target(), facts=facts)
    assert (dict(bare.client), bare.arguments) == ({}, None)
