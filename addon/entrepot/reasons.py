"""Why upstream could not be asked, in words that quote nothing of a URL."""

from http.client import HTTPException

from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

CONNECT_SECONDS = 10.0


def reason_of(error: BaseException) -> str:
    """Why a request failed, in words that quote nothing of its URL."""
    match error:
        case ProxyError():
            return f"the upstream proxy: {reason_of(error.original_error)}"
        case NameResolutionError():
            return "its name does not resolve"
        case NewConnectionError():
            return _system_reason(error)
        case ConnectTimeoutError():
            return f"no connection within {CONNECT_SECONDS:.0f} s"
        case ReadTimeoutError():
            return "it stopped answering"
        case SSLError():
            return f"TLS: {_tls_reason(error)}"
        case ProtocolError() | HTTPException():
            return "the connection broke off"
        case _:
            return _system_reason(error)


def _system_reason(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return "it cannot be reached"


def _tls_reason(error: SSLError) -> str:
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or "failed")
