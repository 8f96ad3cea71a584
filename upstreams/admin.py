"""The operator's pages of upstreams and of their definitions."""

from upstreams.pages.credential import CredentialAdmin
from upstreams.pages.definition import DefinitionAdmin
from upstreams.pages.upstream import UpstreamAdmin

__all__ = ["CredentialAdmin", "DefinitionAdmin", "UpstreamAdmin"]
