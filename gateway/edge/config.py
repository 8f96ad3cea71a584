"""What the edge needs to know of its surroundings."""

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from mcphub.core.env import HubSettings, origin_of
from mcphub.core.limits import Limits

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """`hosts` are names with or without port, `origins` are `scheme://host[:port]`; "*" allows all of them.

    `loopback` says that the server listens there only; `path_prefix` is what stands before the paths of the hub
    in the URLs that clients see.
    """

    limits: Limits = field(default_factory=Limits)
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    loopback: bool = True
    server_url: str = ""
    path_prefix: str = ""
    trusted_proxies: tuple[str, ...] = ()

    @classmethod
    def of(cls, hub: HubSettings, path_prefix: str = "") -> Self:
        """The part of the settings that the edge reads."""
        own = urlsplit(hub.server_url)
        origin = origin_of(hub.server_url)
        return cls(
            limits=hub.limits,
            hosts=frozenset((*hub.allowed_hosts, *filter(None, (own.hostname,)))),
            origins=frozenset((*hub.allowed_origins, *filter(None, (origin,)))),
            loopback=hub.loopback,
            server_url=origin,
            path_prefix=path_prefix.rstrip("/"),
            trusted_proxies=hub.trusted_proxies,
        )
