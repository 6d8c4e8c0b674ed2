"""The password of the proxy itself: mitmproxy's ``proxyauth`` asks for it, on every road.

It is meant for the road by ``HTTPS_PROXY``, where clients can show one: elsewhere mitmproxy would
take a registry's login for it. The proxy's own pages need none either, since a client fetches the
certificate from there and a monitor shows nothing.
"""

from mitmproxy import http
from mitmproxy.addons.proxyauth import is_http_proxy

from entrepot.mitm.serving import SELF

_ASKS = frozenset({401, 407})


def pardon(flow: http.HTTPFlow) -> None:
    """Take back that mitmproxy asks for a password, where none is wanted."""
    asks = flow.response is not None and flow.response.status_code in _ASKS
    if asks and (flow.request.host == SELF or not is_http_proxy(flow)):
        flow.response = None
