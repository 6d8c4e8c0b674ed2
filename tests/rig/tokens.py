"""A token server for docker-registry: GET with Basic, and POST of a form, as clients do both."""

import base64
import datetime as dt
import fnmatch
import json
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

ISSUER = "rig"
ALL = frozenset({"pull", "push", "delete", "*"})
PULL = frozenset({"pull"})


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request for a token: who asked (None: anonymous), what for, and what was answered."""

    method: str
    account: str | None
    scopes: tuple[str, ...]
    status: int


class TokenServer:
    """Answers on a plain loopback port; nginx gives it a name and TLS.

    `passwords` and `grants` (account, or None for anybody -> repository pattern -> actions) may be
    changed while it runs, as may `expires_in` (seconds; None leaves it out of the answer, which
    means 60) and `status` (answer every request with this error; None: serve).
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.passwords = {"alice": "wonderland", "bob": "builder"}
        self.grants: dict[str | None, dict[str, frozenset[str]]] = {
            None: {"public/*": PULL, "library/*": PULL},
            "alice": {"*": ALL},
            "bob": {"bob/*": ALL},
        }
        self.expires_in: int | None = 300
        self.status: int | None = None
        self.requests: list[TokenRequest] = []
        self.bundle = folder / "token.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = _self_signed(self._key)
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self._server = _Server(("127.0.0.1", 0), self)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def mint(self, account: str | None, service: str, scopes: Sequence[str]) -> str:
        """Return a token with as much of `scopes` as the account is granted."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": account or "",
            "aud": service,
            "iat": now,
            "nbf": now - 10,
            "exp": now + (60 if self.expires_in is None else self.expires_in),
            "jti": secrets.token_hex(8),
            "access": [access for scope in scopes if (access := self._granted(account, scope))],
        }
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        signed = f"{_segment(header)}.{_segment(claims)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_base64url(r.to_bytes(32) + s.to_bytes(32))}"

    def answer(
        self, method: str, form: Mapping[str, Sequence[str]], basic: tuple[str, str] | None
    ) -> tuple[int, dict[str, object]]:
        """Return status and JSON body for a token request."""
        if method == "POST" and form.get("grant_type") == ["password"]:
            basic = (form["username"][0], form["password"][0])
        account = basic[0] if basic else None
        scopes = [scope for line in form.get("scope", ()) for scope in line.split()]
        known = account is None or self.passwords.get(account) == (basic or ("", ""))[1]
        status = self.status or (200 if known else 401)
        self.requests.append(TokenRequest(method, account, tuple(scopes), status))
        if status != 200:
            return status, {"errors": [{"code": "UNAUTHORIZED", "message": "rig says no"}]}
        token = self.mint(account, form.get("service", ("",))[0], scopes)
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body: dict[str, object] = {"token": token, "access_token": token, "issued_at": now}
        if self.expires_in is not None:
            body["expires_in"] = self.expires_in
        return status, body

    def _granted(self, account: str | None, scope: str) -> dict[str, object] | None:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        allowed: frozenset[str] = frozenset()
        for who in {None, account}:
            for pattern, what in self.grants.get(who, {}).items():
                if fnmatch.fnmatchcase(name, pattern):
                    allowed |= what
        granted = sorted(allowed & set(actions.split(",")))
        return {"type": kind, "name": name, "actions": granted} if granted else None


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], tokens: TokenServer) -> None:
        super().__init__(address, _Handler)
        self.tokens = tokens


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(parse_qs(urlsplit(self.path).query))

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        self._answer(parse_qs(self.rfile.read(length).decode()))

    def _answer(self, form: Mapping[str, Sequence[str]]) -> None:
        status, body = self.server.tokens.answer(self.command, form, self._basic())
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _basic(self) -> tuple[str, str] | None:
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        account, _, password = base64.b64decode(encoded).decode().partition(":")
        return account, password

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Stay silent; nginx keeps the record."""


def _segment(value: Mapping[str, object]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Rig token signer")])
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
