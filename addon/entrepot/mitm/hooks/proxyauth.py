"""The password of the proxy itself: mitmproxy's ``proxyauth`` asks for it, on every road.

It is meant for the road by ``HTTPS_PROXY``, where clients can show one: elsewhere mitmproxy takes a
registry's login for it, and takes away one that fits. The proxy's own pages need none either, since
a client fetches the certificate from there and a monitor shows nothing.
"""

import base64

from mitmproxy import http
from mitmproxy.proxy.mode_specs import RegularMode, UpstreamMode

from entrepot.mitm.layers import error_pages
from entrepot.mitm.layers.http_layer import SELF

_ASKS = frozenset({401, 407})


def pardon(flow: http.HTTPFlow) -> None:
    """Undo what mitmproxy does for a password, where none is wanted."""
    as_proxy = isinstance(flow.client_conn.proxy_mode, RegularMode | UpstreamMode)
    if as_proxy and flow.request.host != SELF:
        ask_plainly(flow)
        return
    if flow.response is not None and flow.response.status_code in _ASKS:
        flow.response = None
    taken = flow.metadata.get("proxyauth")
    if taken is not None and not as_proxy:
        pair = base64.b64encode(":".join(taken).encode()).decode()
        flow.request.headers.setdefault("Authorization", f"Basic {pair}")


def ask_plainly(flow: http.HTTPFlow) -> None:
    """Say without HTML that a password is wanted."""
    if flow.response is not None and flow.response.status_code in _ASKS:
        plain = error_pages.text(flow.response.status_code, "the proxy wants a user and password")
        for name in ("proxy-authenticate", "www-authenticate"):
            if name in flow.response.headers:
                plain.headers[name] = flow.response.headers[name]
        flow.response = plain
