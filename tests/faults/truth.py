"""What an upstream of the tests wrote down about itself."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Truth:
    """The upstream's own account of what happened to it: one JSON object a line.

    `message` is a request that arrived, `ran` the nonce of a call that took effect, `left` a request in the middle
    of which the other side ended the connection.
    """

    log: Path

    def seen(self, do: str) -> list[dict[str, Any]]:
        """The arguments of every call of this act that reached it."""
        return [arguments for arguments in self.calls() if arguments.get("do") == do]

    def calls(self) -> list[dict[str, Any]]:
        """The arguments of every call that reached it."""
        messages = [line["message"] for line in self._lines() if "message" in line]
        return [each["params"].get("arguments", {}) for each in messages if each.get("method") == "tools/call"]

    def messages(self, method: str) -> list[dict[str, Any]]:
        """Every message of this method that reached it."""
        return [line["message"] for line in self._lines() if line.get("message", {}).get("method") == method]

    def arrived(self) -> Counter[str]:
        """How often each call arrived, by its nonce."""
        return Counter(arguments["nonce"] for arguments in self.calls() if "nonce" in arguments)

    def ran(self) -> Counter[str]:
        """How often each call took effect, by its nonce."""
        return Counter(line["ran"] for line in self._lines() if line.get("ran"))

    def times(self, text: str) -> int:
        """How often a text stands in the account, without reading it line by line."""
        return self.log.read_text().count(text)

    def left(self, do: str) -> int:
        """How often the hub ended the connection in the middle of this act."""
        messages = [line["left"] for line in self._lines() if "left" in line]
        return sum(message.get("params", {}).get("arguments", {}).get("do") == do for message in messages)

    def _lines(self) -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        whole, _, _ = self.log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]
