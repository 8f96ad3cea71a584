"""The operator's pages of upstreams and of their definitions."""

from upstreams.pages.credential import CredentialAdmin
from upstreams.pages.definition import DefinitionAdmin
from upstreams.pages.oauth_client import OAuthClientAdmin
from upstreams.pages.upstream import UpstreamAdmin
from upstreams.pages.version import VersionAdmin

__all__ = ["CredentialAdmin", "DefinitionAdmin", "OAuthClientAdmin", "UpstreamAdmin", "VersionAdmin"]
