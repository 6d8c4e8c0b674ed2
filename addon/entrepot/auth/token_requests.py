"""Requests for tokens, and what token servers answer (distribution's token specification, OAuth2).

The proxy watches this exchange for two facts that ``grants`` live on: whether a token was handed
out to somebody who showed no credentials, and when it ends. Tokens are opaque: no right is ever
read out of one.
"""

import json
from dataclasses import dataclass
from urllib.parse import parse_qsl

from entrepot.auth.anonymous_tokens import ANONYMOUS_QUERY
from entrepot.protocol.messages import Request

DEFAULT_SECONDS = 60.0
"""How long a token lives whose server does not say (distribution's token specification)."""
MAX_SIZE = 64 * 1024
_LONGEST_SECONDS = 10**9


@dataclass(frozen=True, slots=True)
class Issued:
    """What a token endpoint handed out: the token, by one name or two, and its life in seconds."""

    tokens: tuple[str, ...]
    seconds: float


def asks_for_token(request: Request) -> bool:
    """Whether what is sent to a token endpoint looks like it: a query, or a form in a POST.

    Distribution's token specification, and its OAuth2 one.
    """
    if request.method == "POST":
        kind = request.value("Content-Type") or ""
        return kind.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"
    keys = {key for key, _ in parse_qsl(request.query, keep_blank_values=True)}
    return request.method == "GET" and not keys.isdisjoint(ANONYMOUS_QUERY)


def asks_to_write(request: Request, content: bytes) -> bool:
    """Whether a request for a token wants to do more than pull (``repository:NAME:pull,push``)."""
    form = content.decode("utf-8", "replace") if request.method == "POST" else ""
    scopes = [v for k, v in parse_qsl(f"{request.query}&{form}") if k == "scope"]
    actions = [scope.rpartition(":")[2].split(",") for value in scopes for scope in value.split()]
    return any(action not in ("", "pull") for some in actions for action in some)


def parse_issued(content: bytes) -> Issued | None:
    """Read a token endpoint's answer; None where it is none."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    found = (document.get("token"), document.get("access_token"))
    tokens = tuple(dict.fromkeys(token for token in found if isinstance(token, str) and token))
    return Issued(tokens, _seconds(document.get("expires_in"))) if tokens else None


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(min(value, _LONGEST_SECONDS))
    return DEFAULT_SECONDS
