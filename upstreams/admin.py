"""The operator's pages of upstreams and of their definitions."""

from upstreams.pages.definition import DefinitionAdmin
from upstreams.pages.oauth_client import OAuthClientAdmin
from upstreams.pages.upstream import UpstreamAdmin

__all__ = ["DefinitionAdmin", "OAuthClientAdmin", "UpstreamAdmin"]
