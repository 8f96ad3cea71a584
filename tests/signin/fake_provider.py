"""Providers that say whatever a test wants: an OpenID provider that signs, or does not, and GitHub's shape."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

Answer = tuple[int, Any]


class Fake:
    """An HTTP server whose answers are functions by path: (query or form) → (status, JSON)."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[dict[str, str]], Answer]] = {}
        self.asked: list[str] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(dict(urlsplit(self.path)._replace()._asdict())["query"])

            def do_POST(self) -> None:
                self._reply(self.rfile.read(int(self.headers["Content-Length"])).decode())

            def _reply(self, text: str) -> None:
                path = urlsplit(self.path).path
                fake.asked.append(path)
                given = {name: values[0] for name, values in parse_qs(text).items()}
                status, body = fake.answers.get(path, lambda _: (404, {}))(given)
                raw = json.dumps(body).encode() if not isinstance(body, bytes) else body
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server: Final = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: Final = self._server.server_address[1]
        self.url: Final = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class FakeOpenId(Fake):
    """An OpenID provider; `token` are changes to the identity token's claims, `header` to how it is signed."""

    def __init__(self, client_id: str) -> None:
        super().__init__()
        self.issuer: Final = self.url
        self.said: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.key = self.new_key("one")
        self.sign_with: Any = None
        self.algorithm = "RS256"
        self.nonce = ""
        self._client_id = client_id
        self.document: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }
        self.answers = {
            "/.well-known/openid-configuration": lambda _: (200, self.document),
            "/keys": lambda _: (200, {"keys": [self._public()]}),
            "/token": self._token,
            "/userinfo": lambda _: (200, self.userinfo),
        }

    @staticmethod
    def new_key(kid: str) -> tuple[str, rsa.RSAPrivateKey]:
        """A key and its id."""
        return kid, rsa.generate_private_key(65537, 2048)

    def jwt(self, **claims: Any) -> str:
        """A token of this issuer. `None` takes a claim away."""
        now = int(time.time())
        said = {"iss": self.issuer, "sub": "s-1", "aud": self._client_id, "iat": now, "exp": now + 300, **claims}
        said = {name: value for name, value in said.items() if value is not None}
        kid, key = self.key
        signer = self.sign_with if self.sign_with is not None else key
        return jwt.encode(said, None if self.algorithm == "none" else signer, self.algorithm, {"kid": kid})

    def _token(self, form: dict[str, str]) -> Answer:
        claims = {"nonce": self.nonce, **self.said}
        return 200, {"access_token": "at-the-provider", "token_type": "Bearer", "id_token": self.jwt(**claims)}

    def _public(self) -> dict[str, Any]:
        kid, key = self.key
        return {**json.loads(RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "alg": "RS256", "use": "sig"}


class FakeGitHub(Fake):
    """GitHub's three addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.account: dict[str, Any] = {"id": 7, "login": "ann", "name": "Ann"}
        self.emails: list[dict[str, Any]] = []
        self.forms: list[dict[str, str]] = []
        self.answers = {
            "/login/oauth/access_token": self._token,
            "/user": lambda _: (200, self.account),
            "/user/emails": lambda _: (200, self.emails),
        }

    def _token(self, form: dict[str, str]) -> Answer:
        self.forms.append(form)
        if form.get("code") != "good":
            return 200, {"error": "bad_verification_code"}
        return 200, {"access_token": "gho_x", "token_type": "bearer", "scope": "read:user,user:email"}
