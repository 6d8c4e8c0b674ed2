"""What one client says in a request never shows in what another is told (promise 9)."""

import ssl
from collections.abc import Mapping

import pytest

from rig.client import Client
from rig.faults import Exchange, FaultServer
from rig.images import KIB
from rig.proxy import Entrepot

REGISTRY = "https://fault.example.test"
THIEF = "fault-cdn.example.test"
"""Of the registry's own domain, so that only what the registry says keeps clients from it."""
WORDS: list[Mapping[str, str]] = [
    {"Forwarded": f"host={THIEF}"},
    {"X-Forwarded-Host": THIEF},
    {"X-Forwarded-Host": THIEF, "Connection": "X-Forwarded-Host"},
    {"Forwarded": f"host={THIEF}", "Connection": "Forwarded"},
    {"X-Original-Host": THIEF},
    {"Via": f"1.1 {THIEF}"},
    {"Origin": f"https://{THIEF}"},
    {"Referer": f"https://{THIEF}/"},
    {"User-Agent": THIEF},
    {"Accept-Language": THIEF},
    {"Accept": f"text/{THIEF}"},
]


def believing(exchange: Exchange) -> None:
    """Send for a token to whom any field of the request speaks of; who is only a web server."""
    seen = exchange.request
    if seen.host == THIEF:
        exchange.send(404)
        return
    said = any(THIEF in value for name, value in seen.headers.items() if name != "host")
    realm = f"https://{THIEF if said else 'fault.example.test'}/token"
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}",service="rig"'}
    exchange.send(401, b"{}", {**challenge, "Docker-Distribution-Api-Version": "registry/2.0"})


def realm_for(client: Client, path: str) -> str:
    return client.get(REGISTRY + path).headers["WWW-Authenticate"]


def test_nobody_is_led_to_a_thief(entrepot: Entrepot, client: Client, faults: FaultServer) -> None:
    """A registry believes what a client says of where it came by: nobody else hears of it.

    Neither in an answer from memory or to a question that is shared, nor by the proxy's looking
    into connections to the host that was named.
    """
    faults.instead = believing
    for words in WORDS:
        for path in ("/v2/", "/v2/app/manifests/1", f"/v2/app/blobs/sha256:{'0' * 64}"):
            for method in ("GET", "HEAD"):
                client.request(method, REGISTRY + path, words)
            assert THIEF not in realm_for(entrepot.client(source="127.0.0.9"), path), words
        if words.keys() & {"User-Agent", "Accept-Language", "Accept"}:
            continue  # harmless where a registry names hosts, and what every push has
        client.request("POST", f"{REGISTRY}/v2/app/blobs/uploads/", words)
        with pytest.raises(ssl.SSLCertVerificationError):  # a tunnel, with its own certificate
            client.certificate(THIEF)


def test_what_is_shared_is_asked_in_the_proxys_own_words(
    client: Client, faults: FaultServer
) -> None:
    """Of a client's fields only who it is, and the types that it takes, in one spelling.

    Of a blob also the part, read ahead alike for whoever wants some of it.
    """
    client.certificate("fault.example.test")  # found to be a registry
    faults.requests.clear()
    said = {
        "User-Agent": "docker",
        "Accept-Language": "fr",
        "Forwarded": "for=192.0.2.1",
        "Cookie": "who=alice",
        "Accept": "b/b;q=0.5, A/A",
        "Range": "bytes=0-9",
    }
    for path in ("/v2/app/manifests/1", f"/v2/app/blobs/sha256:{'0' * 64}"):
        client.get(REGISTRY + path, said)
        sent = dict(faults.of(path=path)[0].headers)
        assert sent.pop("user-agent").startswith("entrepot")
        accept = "a/a,b/b" if "manifests" in path else "*/*"
        fixed = {"host": "fault.example.test", "accept-encoding": "identity", "accept": accept}
        if "blobs" in path:
            fixed["range"] = f"bytes=0-{64 * KIB - 1}"
        assert sent == {**fixed, "cookie": "who=alice"}


def test_fields_of_the_connection_are_not_asked_with(client: Client, faults: FaultServer) -> None:
    """What makes two requests the same is what goes upstream, whatever ``Connection`` names."""
    faults.routes["/v2/app/manifests/1"] = _by_accept
    listed = {"Accept": "a/a", "Connection": "accept"}
    assert client.get(f"{REGISTRY}/v2/app/manifests/1", listed).body == b"*/*"
    assert client.get(f"{REGISTRY}/v2/app/manifests/1", {"Accept": "a/a"}).body == b"a/a"


def _by_accept(exchange: Exchange) -> None:
    exchange.send(200, exchange.request.headers["accept"].encode())
