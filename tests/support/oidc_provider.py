"""A provider of identities that tests start: OpenID Connect with a code and PKCE, real keys, real HTTP."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.ports import free_port

#: who is let in.
ANN = {"sub": "u1", "preferred_username": "ann", "groups": ["web"]}
CLIENT_ID, CLIENT_SECRET = "reworker", "s3cret:/ %"


def new_key() -> rsa.RSAPrivateKey:
    """Return a fresh key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class OidcProvider:
    """Lets `who` in without asking, and does wrong what its test wants.

    Args:
        who: claims of the person.
        claims: put over those that are right; None leaves one out.
        algorithm: of the signature.
        kid: of the key that it signs with, and shows unless `shows_keys` is off.
        wrong_issuer: in the description.
        redirects: paths that answer with a redirect to this URL.
        is_away: hangs up on everybody.
    """

    port: int = field(default_factory=free_port)
    who: dict[str, Any] = field(default_factory=ANN.copy)
    claims: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "RS256"
    kid: str = "k1"
    key: rsa.RSAPrivateKey = field(default_factory=new_key)
    shown: dict[str, Any] = field(default_factory=dict)
    wrong_issuer: str = ""
    redirects: dict[str, str] = field(default_factory=dict)
    is_away: bool = False
    requests: list[str] = field(default_factory=list)
    redirect_uri: str = ""
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The issuer."""
        return f"http://localhost:{self.port}"

    def rotate(self, kid: str) -> None:
        """Sign with a fresh key from now on, and show it."""
        self.key, self.kid = new_key(), kid

    def description(self) -> dict[str, Any]:
        """Return the discovery document."""
        return {
            "issuer": self.wrong_issuer or self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "scopes_supported": ["openid", "groups"],
        }

    def jwks(self) -> dict[str, Any]:
        """Return the key, or what the test shows in its place."""
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return self.shown or {"keys": [public | {"kid": self.kid, "use": "sig"}]}

    def authorize(self, query: dict[str, str]) -> str:
        """Let the person in; return where the browser goes back to."""
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert (query["client_id"], query["redirect_uri"]) == (CLIENT_ID, self.redirect_uri)
        assert query["scope"].split() == ["openid", "profile", "email", "groups"]
        code = secrets.token_hex(16)
        self._codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def tokens(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Give an ID token for a code, once, to whoever has the secret and the verifier."""
        pair = base64.b64decode(authorization.partition(" ")[2]).decode().split(":")
        if [unquote(one) for one in pair] != [CLIENT_ID, CLIENT_SECRET]:
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (
            asked is None
            or asked["code_challenge"] != challenge
            or form["redirect_uri"] != asked["redirect_uri"]
        ):
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": self._id_token(asked["nonce"])}

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        right = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce}
        claims = {
            name: value for name, value in {**right, **self.who, **self.claims}.items() if value is not None
        }
        key: Any = {"none": None, "HS256": CLIENT_SECRET.ljust(32)}.get(self.algorithm, self.key)
        return jwt.encode(claims, key, algorithm=self.algorithm, headers={"kid": self.kid})


@contextlib.contextmanager
def oidc_provider() -> Iterator[OidcProvider]:
    """Serve a provider for the block."""
    made = OidcProvider()
    server = ThreadingHTTPServer(("127.0.0.1", made.port), _handler(made))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(provider: OidcProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, query = urlsplit(self.path).path, urlsplit(self.path).query
            provider.requests.append(path)
            if provider.is_away:
                return
            if path in provider.redirects:
                self._answer(302, b"", provider.redirects[path])
            elif path == "/authorize":
                self._answer(302, b"", provider.authorize(_single(query)))
            else:
                document = provider.jwks() if path == "/keys" else provider.description()
                self._answer(200, json.dumps(document).encode())

        def do_POST(self) -> None:
            provider.requests.append(self.path)
            form = _single(self.rfile.read(int(self.headers["Content-Length"])).decode())
            status, answer = provider.tokens(form, self.headers.get("Authorization", ""))
            self._answer(status, json.dumps(answer).encode())

        def _answer(self, status: int, body: bytes, location: str = "") -> None:
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    return Handler


def _single(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text, strict_parsing=True).items()}
