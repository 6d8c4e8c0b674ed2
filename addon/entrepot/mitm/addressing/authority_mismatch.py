"""Requests whose names do not agree: SNI, Host and where the connection goes (status 421)."""

from mitmproxy import http

from entrepot.protocol.identifiers import Origin, parse_host


def authority_mismatch(flow: http.HTTPFlow, origin: Origin) -> str | None:
    """What of SNI and Host does not agree with where the flow goes (RFC 9110 section 7.4).

    mitmproxy lets ``CONNECT a`` carry ``Host: b``: whoever keys on one and sends the other can
    be made to store b's answers as a's.
    """
    hosts = flow.request.headers.get_all("host")
    if len(hosts) > 1:
        return "more than one Host"
    if hosts and not _names(hosts[0], origin):
        return f"Host {hosts[0]!r}"
    authority = flow.request.authority  # left where a target names a host inside of a CONNECT
    if authority and not _names(authority, origin):
        return f"target {authority!r}"
    sni = flow.client_conn.sni if origin.scheme == "https" else None
    if sni and not _same_host(sni, origin.host):
        return f"SNI {sni!r}"
    return None


def _names(authority: str, origin: Origin) -> bool:
    default = 443 if origin.scheme == "https" else 80
    try:
        return Origin.parse(f"{origin.scheme}://{authority}") == origin
    except ValueError:
        return authority == "" and origin.port == default


def _same_host(name: str, host: str) -> bool:
    try:
        return parse_host(name) == host
    except ValueError:
        return False
