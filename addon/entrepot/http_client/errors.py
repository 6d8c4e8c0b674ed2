"""Why upstream could not be asked, in words that quote nothing of a URL but its host.

The rest of it may be signed.
"""

import math
import ssl
from http.client import BadStatusLine, HTTPException, RemoteDisconnected, UnknownProtocol

from urllib3.exceptions import (
    ConnectTimeoutError,
    InvalidHeader,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util.ssl_match_hostname import CertificateError

from entrepot.http_client.response_head import HeadError
from entrepot.protocol.cache_status import CacheStatus
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import Answer, error_answer
from entrepot.protocol.statuses import TRANSIENT_OF_A_TUNNEL


class UpstreamError(Exception):
    """Upstream could not be asked, or broke off; the text names a host and a reason.

    ``passing``: whether it may be well when asked again in a moment. ``silent``: the host that
    gave no answer at all, with ``connected`` and ``slow`` as for the circuit breaker. ``again``:
    it was not asked now, but will be in so many seconds.
    """

    def __init__(
        self,
        text: str,
        *,
        passing: bool = False,
        silent: Origin | None = None,
        connected: bool = True,
        slow: bool = False,
        again: float | None = None,
    ) -> None:
        super().__init__(text)
        self.again = again
        self.passing = passing
        self.silent = silent
        self.connected = connected
        self.slow = slow


class AbandonedError(UpstreamError):
    """Upstream was not asked, or not to the end, since nobody waits for the answer any more."""

    def __init__(self, origin: Origin | None = None) -> None:
        super().__init__(f"{origin or 'upstream'}: nobody waits for its answer any more")


class TunnelRefusedError(OSError):
    """The upstream proxy answered CONNECT, and not by opening a tunnel."""

    def __init__(self, status: int) -> None:
        wants = "it wants a user and password, or others (407)"
        super().__init__(wants if status == 407 else f"it answered CONNECT with {status}")
        self.status = status


def failure(origin: Origin, error: BaseException) -> UpstreamError:
    """What an error of urllib3 or of a socket says of the host that was asked."""
    return UpstreamError(
        f"{origin}: {reason_of(error)}",
        passing=is_passing(error),
        silent=origin,
        connected=is_connected(error),
        slow=is_slow(error),
    )


def unavailable(error: UpstreamError, how: CacheStatus) -> Answer:
    """What a client gets where upstream could not be asked.

    A host that is left alone for a while is a 503 that says for how long, so that no client tries
    again before.
    """
    upstream, _, reason = str(error).partition(": ")
    status = 502 if error.again is None else 503
    answer = error_answer(
        status, "UNAVAILABLE", f"upstream: {error}", upstream=upstream, reason=reason
    ).adding(how)
    if error.again is None:
        return answer
    return answer.adding(("Retry-After", str(max(1, math.ceil(error.again)))))


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
            return "no connection in time"
        case ReadTimeoutError():
            return "it stopped answering"
        case SSLError():
            return f"TLS: {_tls_reason(error)}"
        case InvalidHeader() | ValueError():
            return "its answer is no valid HTTP"
        case ProtocolError() | HTTPException():
            return _protocol_reason(_cause(error))
        case _:
            return _system_reason(error)


def is_passing(error: BaseException) -> bool:
    """Whether a request that failed so may do well in a moment: it was not answered at all."""
    match error:
        case ProxyError():
            return is_passing(error.original_error)
        case TunnelRefusedError():
            return error.status in TRANSIENT_OF_A_TUNNEL
        case NameResolutionError():
            return False
        case NewConnectionError() | ConnectTimeoutError():
            return True
        case SSLError():
            return isinstance(_cause(error), ssl.SSLEOFError)
        case ProtocolError() | HTTPException():
            cause = _cause(error)
            wrong = isinstance(cause, BadStatusLine | UnknownProtocol | HeadError)
            return not wrong or _is_broken_off(cause)
        case _:
            return isinstance(error, ConnectionError)


def is_connected(error: BaseException) -> bool:
    """Whether a connection had been made, TLS and all."""
    match error:
        case ProxyError() | NewConnectionError() | ConnectTimeoutError() | SSLError():
            return False  # NameResolutionError is a NewConnectionError
        case _:
            return True


def is_slow(error: BaseException) -> bool:
    """Whether it took a deadline to know."""
    match error:
        case ProxyError():
            return is_slow(error.original_error)
        case NewConnectionError():  # which urllib3 derives from ConnectTimeoutError
            return isinstance(error.__cause__ or error.__context__, TimeoutError)
        case ConnectTimeoutError() | ReadTimeoutError():
            return True
        case _:
            return isinstance(_cause(error), TimeoutError)


def _cause(error: BaseException) -> BaseException:
    """What urllib3 wrapped."""
    inner = error.args[-1] if error.args else None
    return inner if isinstance(inner, BaseException) else error


def _is_broken_off(cause: BaseException) -> bool:
    return isinstance(cause, RemoteDisconnected)  # which is a BadStatusLine too


def _protocol_reason(cause: BaseException) -> str:
    if isinstance(cause, HeadError):
        return str(cause)
    if isinstance(cause, BadStatusLine | UnknownProtocol) and not _is_broken_off(cause):
        return "its answer is no valid HTTP"
    return "the connection broke off"


def _system_reason(error: BaseException) -> str:
    if isinstance(error, TunnelRefusedError):
        return str(error)
    cause = error.__cause__ or error.__context__ or error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return "it cannot be reached"


def _tls_reason(error: SSLError) -> str:
    inner = _cause(error)
    if isinstance(inner, CertificateError):
        return "its certificate is for another name"
    return str(getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or "failed")
