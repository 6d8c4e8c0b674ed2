"""What a client gets of an upstream that is broken: the whole right thing, or a clear error.

Every fault of `rig.broken.FAULTS` at the socket, through one proxy, many at once, since most of
them wait for something.
"""

import hashlib
import http.client
import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from rig.broken import FAULTS, HOST, HOSTS, BrokenRegistries, Fault, Published
from rig.client import Client
from rig.faults import error
from rig.images import MIB, ImageFactory
from rig.process import eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

WHOLE, WAITS = "whole", "waits"
MOST_MEMORY = 200 * MIB
"""Of the proxy, for all of it at once, manifests of 100 MB included; idle it has 80 MiB."""

CUT = (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError)
NAMES = {fault.name: fault for fault in FAULTS}

HARMED = {
    "manifest: cut, always": ("manifest 502", "the connection broke off"),
    "layer: cut, always at the same byte": ("layer cut", "the connection broke off"),
    "manifest: wrong bytes": ("manifest 502", "digest_mismatched"),
    "config: wrong bytes": ("config cut", "do not hash to the digest"),
    "layer: wrong bytes": ("layer cut", "do not hash to the digest"),
    "layer: too short": ("layer cut", "do not hash to the digest"),
    "layer: too long": ("layer cut", "do not hash to the digest"),
    "layer: Content-Length too large": ("layer cut", "the connection broke off"),
    "layer: Content-Length too small": ("layer cut", "do not hash to the digest"),
    "manifest: Content-Length too small": ("manifest 502", "digest_mismatched"),
    "layer: no Content-Length, and cut": ("layer cut", "do not hash to the digest"),
    "manifest: no Content-Length, and cut": ("manifest 502", "digest_mismatched"),
    "manifest: lying Docker-Content-Digest": ("manifest 502", "digest_mismatched"),
    "manifest: 103 for ever": ("manifest 502", "interim answers without end"),
    "layer: 100 for ever": ("layer 502", "interim answers without end"),
    "layer: header fields for ever": ("layer 502", "too many header fields"),
    "layer: a header field for ever": ("layer 502", "a line of its answer's head is too long"),
    "layer: a header field of 1 MiB": ("layer 502", "a line of its answer's head is too long"),
    "layer: 10,000 header fields": ("layer 502", "too many header fields"),
    "manifest: a header field of 1 MiB": ("manifest 502", "head is too long"),
    "layer: redirected to itself": ("layer 502", "more than 5 redirects"),
    "TLS: an expired certificate": ("manifest 502", "certificate has expired"),
    "TLS: another name's certificate": ("manifest 502", "for another name"),
    "TLS: an unknown authority": ("manifest 502", "unable to get local issuer certificate"),
    "TLS: cut in the handshake": ("manifest 502", "the connection broke off"),
    "DNS: a name that does not resolve": ("manifest 502", "its name does not resolve"),
} | {
    f"{part}: {name}, {often}": (f"{part} {said}", why)
    for part in ("manifest", "layer")
    for often, name, said, why in (
        ("always", "429 with Retry-After: 1", 429, "it answered 429"),
        ("once", "429 without Retry-After", 429, "it answered 429"),
        ("always", "429 without Retry-After", 429, "it answered 429"),
        ("always", "500", 500, "it answered 500"),
        ("always", "502", 502, "it answered 502"),
        ("always", "503", 503, "it answered 503"),
        ("always", "503 with Retry-After: 1", 503, "it answered 503"),
        ("always", "504", 504, "it answered 504"),
        ("always", "reset before the answer", 502, "the connection broke off"),
    )
}
"""What cannot end well: what the client sees, and what the one line in the log says."""

PASSED_ON = {"manifest: of 100 MB", "manifest: of 100,000 layers"}
"""Too large to be kept: the client gets what upstream sent."""

WAITING = {
    "layer: stalls in the middle, once",
    "manifest: never answered",
    "layer: never answered",
    "layer: a head that drips for ever",
}
"""Longer than a test should: upstream has a minute."""

UNHARMED = NAMES.keys() - HARMED.keys() - PASSED_ON - WAITING
"""What the client does not notice."""


@dataclass(frozen=True, slots=True)
class Pull:
    """What a pull by hand came to, and what was said where it failed."""

    outcome: str
    said: bytes = b""


def pull(client: Client, published: Published, host: str) -> Pull:
    """Get manifest, config and layer, as far as they come."""
    image = published.image
    right = {
        "manifest": image.root.body,
        "config": image.configs[0].read(),
        "layer": image.layers[0].read(),
    }
    for part, body in right.items():
        url = f"https://{host}{published.path(part)}"
        try:
            answer = client.manifest(url) if part == "manifest" else client.get(url)
        except CUT:
            return Pull(f"{part} cut")
        except TimeoutError:
            return Pull(WAITS)
        if answer.status != 200:
            return Pull(f"{part} {answer.status}", answer.body)
        if answer.body != body:
            itself = answer.digest == f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
            return Pull(f"{part} {'other' if itself else 'corrupt'}")
    return Pull(WHOLE)


class Run:
    """One proxy in front of all that is broken, and each fault's two pulls on their way."""

    def __init__(self, folder: Path, authority: Upstreams, images: ImageFactory) -> None:
        self.broken = BrokenRegistries(folder, authority.authority)
        options = {
            "upstream_ca": str(authority.authority.pem),
            "resolve": self.broken.resolve,
            # Else one whose certificate is wrong would be tunnelled, and no redirect led inward.
            "registry": [*HOSTS, "127.0.0.1"],
        }
        self.entrepot = Entrepot(folder / "entrepot", options)
        self.entrepot.start()
        self._pool = ThreadPoolExecutor(32)
        made = {fault: images.image(fault.slug) for fault in FAULTS}
        self.published = {
            fault: self.broken.publish(image, fault.slug, fault) for fault, image in made.items()
        }
        slowest = sorted(FAULTS, key=lambda fault: "cut, always" not in fault.name)
        self.pulls: dict[str, Future[tuple[Pull, Pull]]] = {
            fault.name: self._pool.submit(self._twice, fault) for fault in slowest
        }

    def _twice(self, fault: Fault) -> tuple[Pull, Pull]:
        """Pull while it is broken, and when it is mended."""
        published = self.published[fault]
        client = self.entrepot.client(timeout=3 if fault.name in WAITING else 60)
        one = pull(client, published, fault.host)
        if fault.host != HOST or fault.name in WAITING:
            return one, Pull(WHOLE)
        self.broken.mend(published)
        return one, pull(client, published, fault.host)

    def lines(self, fault: Fault) -> list[str]:
        """What the log says of a fault's repository that is not well."""
        of = re.compile(
            f" (repository|url)=(https://)?{re.escape(fault.host)}(/v2)?/{fault.slug}[ /]"
        )
        return [line for line in self.entrepot.log.splitlines() if of.search(line)]

    def stop(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self.entrepot.kill9()
        self.broken.stop()


@pytest.fixture(scope="module")
def run(rig_folder: Path, upstreams: Upstreams, images: ImageFactory) -> Iterator[Run]:
    run = Run(rig_folder / "faults", upstreams, images)
    yield run
    run.stop()


def by_name(names: Iterable[str]) -> pytest.MarkDecorator:
    order = [fault.name for fault in FAULTS if fault.name in names]
    return pytest.mark.parametrize("name", order)


@by_name(UNHARMED)
def test_what_can_be_mended_is_not_noticed(run: Run, name: str) -> None:
    """The client gets the whole image, though its registry is broken; the log has no warning."""
    assert run.pulls[name].result() == (Pull(WHOLE), Pull(WHOLE))
    assert [line for line in run.lines(NAMES[name]) if "WARNING" in line] == []


@by_name(HARMED)
def test_what_cannot_be_mended_is_a_clear_error(run: Run, name: str) -> None:
    """An error in a registry's form, or a cut; one line in the log; nothing wrong is left.

    As soon as the registry is well again, the same image comes whole.
    """
    outcome, why = HARMED[name]
    one, other = run.pulls[name].result()
    assert (one.outcome, other.outcome) == (outcome, WHOLE)
    if one.said:
        (problem,) = json.loads(one.said)["errors"]
        assert problem.keys() >= {"code", "message"}
    (line,) = [line for line in run.lines(NAMES[name]) if "WARNING" in line]
    assert why in line


@by_name(PASSED_ON)
def test_what_is_too_large_to_keep_is_passed_on(run: Run, name: str) -> None:
    """A manifest of more than 4 MiB comes as upstream sent it, and is not kept."""
    one, other = run.pulls[name].result()
    assert (one.outcome, other.outcome) == ("manifest other", WHOLE)


@by_name(WAITING)
def test_what_does_not_come_is_waited_for(run: Run, name: str) -> None:
    """A wait is better than an error: the client decides how long."""
    assert run.pulls[name].result()[0].outcome == WAITS


def test_the_proxy_stays_well(run: Run) -> None:
    """Promise 6: after all of it, memory was bounded, nothing crashed, and it serves.

    The log has nothing but its own lines: no traceback, and no library's view of it.
    """
    for future in run.pulls.values():
        future.result()
    assert run.entrepot.rss_peak() < MOST_MEMORY
    own = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (INFO|WARNING) [a-z_]+ ")
    assert [line for line in run.entrepot.log.splitlines() if not own.match(line)] == []
    assert run.entrepot.local("/healthz").status == 200
    none = run.published[NAMES["none"]]
    assert pull(run.entrepot.client(), none, HOST) == Pull(WHOLE)


def test_nobody_is_tried_for_who_has_left(run: Run) -> None:
    """A limit is waited out only as long as a client waits too."""
    server = run.published[NAMES["none"]].server
    path = "/v2/left/manifests/1"
    server.routes[path] = error(429, "TOOMANYREQUESTS", "wait", {"Retry-After": "1"})
    with run.entrepot.client().tunnel(HOST) as tls:
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        server.await_request(path=path)
    told = f"url=https://{HOST}{path} "
    eventually(lambda: told in run.entrepot.log, what="given up")
    assert len(server.of(path=path)) == 1
