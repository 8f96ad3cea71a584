"""An org with people in every built-in role, two upstreams with a catalogue, and a stranger's org beside it."""

from dataclasses import dataclass

import pytest

from mcphub.accounts import services
from mcphub.accounts.models import Org, User
from mcphub.accounts.selectors import person_principal
from mcphub.core.principal import Principal
from upstreams.models import Upstream
from upstreams.services import store_catalogue

TIME = {
    "tool": [
        {"name": "get_time", "inputSchema": {"type": "object"}},
        {"name": "set_time", "inputSchema": {"type": "object"}},
    ]
}
FILES = {
    "tool": [
        {"name": "read_file", "inputSchema": {"type": "object"}},
        {"name": "delete_file", "inputSchema": {"type": "object"}},
    ],
    "prompt": [{"name": "review"}],
    "resource": [{"uri": "file:///srv/a", "name": "a"}],
}


@dataclass
class World:
    org: Org
    other: Org
    people: dict[str, User]
    time: Upstream
    files: Upstream

    def principal(self, name: str) -> Principal:
        found = person_principal(self.people[name].pk, self.org.pk)
        assert found is not None
        return found


@pytest.fixture
def world(db: None) -> World:
    org, other = services.create_org("north", "North"), services.create_org("south", "South")
    people = {}
    for role in ("owner", "operator", "viewer", "member"):
        people[role] = services.create_user(f"{role}@example.org")
        services.add_member(org, people[role], [role])
    people["stranger"] = services.create_user("stranger@example.org")
    services.add_member(other, people["stranger"], ["owner"])
    people["hub_admin"] = services.create_user("admin@example.org", hub_admin=True)
    made = World(org, other, people, upstream(org, "time"), upstream(org, "files"))
    store_catalogue(made.time.pk, "", TIME)
    store_catalogue(made.files.pk, "", FILES)
    return made


def upstream(org: Org, slug: str) -> Upstream:
    return Upstream.objects.create(org=org, slug=slug, name=slug, url="https://example.org/mcp")
