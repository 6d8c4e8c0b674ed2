"""A reader of the page without a browser: requests as one sends them, or as an attacker does."""

import http.client
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from rig.client import Answer

TOKEN = "a-token-for-tests-of-24-c"  # noqa: S105 of tests
BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@dataclass
class Reader:
    """Asks at one address; keeps its session's cookie."""

    port: int
    address: str = "127.0.0.1"
    source: str = ""
    """The address from which it asks, if that is to be another."""
    cookie: str = ""
    csrf: str = field(default="", repr=False)

    def ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """One request, on a connection of its own."""
        connection = http.client.HTTPConnection(
            self.address,
            self.port,
            timeout=20,
            source_address=(self.source, 0) if self.source else None,
        )
        given = {"Cookie": self.cookie} if self.cookie else {}
        try:
            connection.request(method, path, body, {**given, **(fields or {})})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, fields: Mapping[str, str] | None = None) -> Answer:
        """As a browser."""
        return self.ask("GET", path, {**BROWSER, **(fields or {})})

    def post(self, path: str, body: str, fields: Mapping[str, str] | None = None) -> Answer:
        """As a page of this session does."""
        own = {"X-CSRF-Token": self.csrf} if self.csrf else {}
        return self.ask("POST", path, {**own, **(fields or {})}, body.encode())

    def sign_in(self, token: str = TOKEN, fields: Mapping[str, str] | None = None) -> Answer:
        """Show the token by the form."""
        form = urllib.parse.urlencode({"token": token, "next": "/ui/images"})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.ask("POST", "/ui/sign-in", {**kind, **(fields or {})}, form.encode())
        if answer.status == 303:
            self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
            page = self.get("/ui/images").body.decode()
            found = re.search(r'name="csrf" content="([^"]+)"', page)
            self.csrf = found[1] if found else ""
        return answer
