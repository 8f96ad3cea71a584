"""A real OpenID provider: npm `oidc-provider`, with people who sign in by typing their subject."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import httpx
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.harness.node import modules
from tests.harness.processes import Process, free_port
from tests.harness.waiting import until

ACCOUNTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ann": {"email": "ann@example.org", "email_verified": True, "name": "Ann", "groups": ["engineering", "admins"]},
    "bob": {"email": "bob@example.org", "email_verified": False, "name": "Bob", "groups": ["sales"]},
    "cat": {"name": "Cat, who has no address"},
    "dan": {"email": "dan@example.org", "email_verified": True, "name": "Dan", "contractor": True},
}


class OpenIdProvider:
    """Started on a port of its own; `rotate` starts it again there with a new key."""

    client_id: Final = "hub"
    client_secret: Final = "secret-of-the-hub-at-the-provider"

    def __init__(self, folder: Path, redirects: Iterable[str]) -> None:
        self.port: Final = free_port()
        self.issuer: Final = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._redirects = list(redirects)
        self._process: Process | None = None
        self._keys = 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Serve, with the present key."""
        given = {
            "issuer": self.issuer,
            "port": self.port,
            "client": {"id": self.client_id, "secret": self.client_secret, "redirects": self._redirects},
            "accounts": ACCOUNTS,
            "keys": {"keys": [_key(f"key-{self._keys}")]},
        }
        command = [str(modules() / ".bin" / "node"), str(modules().parent / "provider.mjs"), json.dumps(given)]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = Process(command, self._folder / "provider.log", cwd=self._folder)
        until("the provider's readiness", self._is_ready, 30)
        return self

    def stop(self) -> None:
        """Be down."""
        if self._process is not None and self._process.exit_code is None:
            self._process.stop()

    def rotate(self) -> None:
        """Sign with a new key from now on; nothing knows the old one any more."""
        self.stop()
        self._keys += 1
        self.start()

    def _is_ready(self) -> bool:
        assert self._process is not None
        self._process.expect_running()
        try:
            return httpx.get(f"{self.issuer}/.well-known/openid-configuration", timeout=2).is_success
        except httpx.TransportError:
            return False


def _key(kid: str) -> dict[str, Any]:
    made = json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048)))
    return {**made, "kid": kid, "use": "sig", "alg": "RS256"}
