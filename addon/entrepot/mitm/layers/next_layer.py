"""Which layer reads a connection's next bytes: HTTP of ours, TLS, or a blind tunnel."""

from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import layer, layers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.http import HTTPMode

from entrepot.mitm.layers.http_layer import EntrepotHttpLayer
from entrepot.mitm.layers.tls_limits import BoundedClientTLS, intercepting_tls


def choose_layer(context: Context, data: bytes, *, tunnel: bool) -> layer.Layer | None:
    """The layer for a connection's next bytes; None to let mitmproxy choose."""
    above = context.layers
    if len(above) == 1 and isinstance(above[0], modes.HttpProxy | modes.HttpUpstreamProxy):
        upstream = isinstance(above[0], modes.HttpUpstreamProxy)
        mode = HTTPMode.upstream if upstream else HTTPMode.regular
        if not starts_like_tls_record(data):
            return EntrepotHttpLayer(context, mode)
        secured = BoundedClientTLS(context)
        secured.child_layer = EntrepotHttpLayer(context, mode)
        return secured
    if len(above) == 1 and isinstance(above[0], modes.ReverseProxy):
        return EntrepotHttpLayer(context, HTTPMode.transparent)  # a mirror, which has no TLS
    if tunnel:
        return layers.TCPLayer(context, ignore=True)
    if isinstance(above[-1], BoundedClientTLS) or not starts_like_tls_record(data):
        return EntrepotHttpLayer(context, HTTPMode.transparent)
    return intercepting_tls(context)
