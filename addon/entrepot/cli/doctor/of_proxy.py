"""The running proxy: how it says it does, and a real request through it, as a client makes it."""

import base64
import http.client
import ssl
from collections.abc import Iterator

from entrepot.cli.doctor.finding import Finding, note, ok, problem, warning
from entrepot.config.addresses import Listen, UpstreamProxy
from entrepot.config.settings import Config
from entrepot.control.documents import Document
from entrepot.protocol.identifiers import Origin
from entrepot.protocol.image_names import registry_name
from entrepot_ca import AuthorityError, load

_SECONDS = 15.0
_ANSWERED = frozenset({200, 401})
_FROM_HERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 no listener of ours
"""Where to reach from this machine what listens on all addresses."""
_START = "start it: entrepot serve, or systemctl start entrepot"


def check_running(live: Document | None, version: str) -> Iterator[Finding]:
    """What it says of itself."""
    if live is None:
        yield problem("proxy", "it does not run", _START)
        return
    if live["status"] == "failing":
        yield problem("proxy", _reasons(live), "see its log, and `entrepot status`")
    elif live["status"] == "degraded":
        yield warning("proxy", _reasons(live), "see `entrepot status`")
    else:
        yield ok("proxy", f"it runs, process {live['pid']}")
    if live["version"] != version:
        said = f"version {live['version']} runs, {version} is installed"
        yield warning("version", said, "restart it")
    for client in dict.fromkeys(one["client"] for one in live["untrusting_clients"]):
        said = f"{client} does not trust the CA: its pulls go past the cache"
        yield warning("clients", said, "install the CA there: sh ca/install.sh")


def _reasons(live: Document) -> str:
    return "; ".join(one["reason"] for one in live["reasons"]) or str(live["status"])


def check_request(config: Config, live: Document, origins: list[Origin]) -> Iterator[Finding]:
    """Ask the first registry through the proxy, trusting nothing but its authority."""
    https = [one for one in origins if one.scheme == "https"]
    if not has_login(config):
        yield note("request", "not tried: the proxy asks for a password that is not known here")
    elif https:
        yield _request(config, reached_at(config, live), https[0])


def has_login(config: Config) -> bool:
    """Whether a request may come through: no password is asked for, or it is known here."""
    login = config.proxyauth
    return login is None or (":" in login and not login.startswith("@"))


def reached_at(config: Config, live: Document) -> UpstreamProxy:
    """Where this machine reaches the proxy that runs."""
    (address,) = (one["address"] for one in live["listening"] if one["as"] == "proxy")
    listen = Listen.parse(address)
    username, _, password = (config.proxyauth or "").partition(":")
    host = _FROM_HERE.get(listen.host, listen.host)
    return UpstreamProxy("http", host, listen.port, username or None, password or None)


def _request(config: Config, proxy: UpstreamProxy, origin: Origin) -> Finding:
    """One request, as a container engine makes it."""
    about, name = "request", registry_name(origin)
    headers = {}
    if proxy.username is not None:
        login = f"{proxy.username}:{proxy.password or ''}"
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    try:
        authority = load(config.data / "ca")
        context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
        connection = http.client.HTTPSConnection(
            proxy.host, proxy.port, timeout=_SECONDS, context=context
        )
        try:
            connection.set_tunnel(origin.host, origin.port, headers)
            connection.request("GET", "/v2/", headers={"User-Agent": "entrepot-doctor"})
            status = connection.getresponse().status
        finally:
            connection.close()
    except ssl.SSLCertVerificationError:
        said = f"{name} is tunnelled past the cache for clients such as this one"
        return warning(about, said, "see `entrepot status`: who does not trust the CA?")
    except (OSError, http.client.HTTPException, AuthorityError) as error:
        fix = "see its log; --allow-client and firewalls count for this machine, too"
        return problem(about, f"asking {name} through it failed: {error}", fix)
    if status not in _ANSWERED:
        return problem(about, f"{name} through it answers {status}", "see `entrepot log -n 5`")
    return ok(about, f"{name} answers through it, by its certificate")
