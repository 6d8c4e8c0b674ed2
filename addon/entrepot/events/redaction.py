"""Texts of others, mitmproxy's and Python's, made fit for the log: no login, no signed URL."""

import re

_URL = re.compile(
    r"""\b([a-z][a-z0-9+.-]*://)(?:[^\s/?#'"<>]*@)?([^\s/?#@'"<>]*)[^\s'"<>]*""", re.IGNORECASE
)
_LOGIN = re.compile(r"\b(Basic|Bearer) +[A-Za-z0-9._~+/=-]{4,}")
_FIELD = re.compile(r"(?i)\b((?:proxy-)?authorization|cookie|set-cookie)\b(['\"]?[:=,] *)[^\r\n]*")


def redacted(text: str) -> str:
    """The text with every URL cut to its scheme and host, and every login left out."""
    text = _FIELD.sub(r"\1\2...", text)
    return _LOGIN.sub(r"\1 ...", _URL.sub(r"\1\2", text))
