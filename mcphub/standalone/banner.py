"""What `up` prints once it serves: where to look, where to connect, with which key."""

import json
from dataclasses import dataclass
from typing import Final

from mcphub import __version__
from mcphub.dashboard.clients import PLACEHOLDER, mcp_servers

OPEN: Final = """
  !!  OPEN MODE (--no-auth): whoever reaches this port may call everything, without a key.  !!
"""
NO_KEY: Final = "shown at the first start only; `create_key` makes another"


@dataclass(frozen=True, slots=True)
class Welcome:
    """`url` is the dashboard's, without a slash at its end; `key` is "" when it is not known any more."""

    url: str
    key: str
    no_auth: bool
    set_up_link: str = ""

    def json(self) -> str:
        """One line for programs: the same facts."""
        facts = {"dashboard": f"{self.url}/", "mcp": f"{self.url}/mcp", "key": self.key, "no_auth": self.no_auth}
        return json.dumps({**facts, "set_up_link": self.set_up_link})

    def text(self) -> str:
        """The lines for the terminal."""
        lines = [f"MCP Hub {__version__} is ready.", "", f"  Dashboard  {self.url}/", f"  MCP        {self.url}/mcp"]
        if not self.no_auth:
            lines.append(f"  Key        {self.key or NO_KEY}")
        if self.set_up_link:
            lines += ["", f"  Become the owner (this link works once, for 15 minutes): {self.set_up_link}"]
        lines += ["", "  For clients that read mcpServers:", ""]
        document = mcp_servers(f"{self.url}/mcp", "" if self.no_auth else self.key or PLACEHOLDER)
        lines += [f"  {line}" for line in json.dumps(document, indent=2).splitlines()]
        return "\n".join([OPEN if self.no_auth else "", *lines, ""])
