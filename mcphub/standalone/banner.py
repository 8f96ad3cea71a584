"""What `up` prints once it serves: where to look, where to connect, with which key."""

import json
from dataclasses import dataclass
from typing import Any

from mcphub import __version__

OPEN = """
  !!  OPEN MODE (--no-auth): whoever reaches this port may call everything, without a key.  !!
"""
NO_KEY = "shown at the first start only; make another with: create_key --org default"


@dataclass(frozen=True, slots=True)
class Welcome:
    """`url` is the dashboard's, without a slash at its end; `key` is "" when it is not known any more."""

    url: str
    key: str
    no_auth: bool
    set_up_link: str = ""

    def text(self) -> str:
        """The lines for the terminal."""
        lines = [f"MCP Hub {__version__} is ready.", "", f"  Dashboard  {self.url}/", f"  MCP        {self.url}/mcp"]
        if not self.no_auth:
            lines.append(f"  Key        {self.key or NO_KEY}")
        if self.set_up_link:
            lines += ["", f"  Become the owner (this link works once, for 15 minutes): {self.set_up_link}"]
        lines += ["", "  For clients that read mcpServers:", ""]
        lines += [f"  {line}" for line in json.dumps(self.snippet(), indent=2).splitlines()]
        return "\n".join([OPEN if self.no_auth else "", *lines, ""])

    def snippet(self) -> dict[str, Any]:
        """A client's configuration that reaches this hub."""
        entry: dict[str, Any] = {"type": "http", "url": f"{self.url}/mcp"}
        if not self.no_auth:
            entry["headers"] = {"Authorization": f"Bearer {self.key or 'YOUR-KEY'}"}
        return {"mcpServers": {"hub": entry}}
