"""What a client gets of each kind of request while upstream is away, and in how long."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException

from rig.away import ALICE, Away, Fault
from rig.client import Answer, Client, ConnectRefusedError
from rig.images import KIB, ImageFactory

WARM_TAG, WARM_DIGEST, COLD = "warm, by tag", "warm, by digest", "cold"
REMEMBERED, PRIVATE, PUSH = "private, token shown before", "private, new login", "push"
CASES = (WARM_TAG, WARM_DIGEST, REMEMBERED, PRIVATE, PUSH, COLD)
"""The columns; in this order, since a cold pull may take down what the others are measured at."""

_SHORT = {
    "entrepot; hit": "hit",
    "entrepot; hit; detail=revalidated": "revalidated",
    "entrepot; hit; detail=stale": "stale",
    "entrepot; hit; detail=unconfirmed": "unconfirmed",
    "entrepot; fwd=miss; stored": "fetched",
    "entrepot; fwd=bypass; detail=upload": "202",
}


@dataclass(frozen=True, slots=True)
class Got:
    """How one try ended: at which step, with what status, and from where the manifest was."""

    step: str
    status: int
    how: str
    seconds: float
    asked: int
    """How often upstream was asked for it, as the proxy counts it."""

    @property
    def is_whole(self) -> bool:
        return self.step == "end"

    def __str__(self) -> str:
        end = f"**{self.status}** at the {self.step}" if self.status else f"**{self.step}**"
        end = self.how if self.is_whole else end
        return f"{end}, {self.seconds:.{2 if self.seconds < 1 else 1}f} s"


class Column:
    """One kind of request, with a repository of its own: made ready, then tried."""

    def __init__(self, away: Away, case: str, images: ImageFactory) -> None:
        self._away, self._case = away, case
        kind = "private" if case in (REMEMBERED, PRIVATE) else "public"
        self._name = f"{kind}/{case.replace(', ', '-').replace(' ', '-')}"
        self._image = images.image(f"away {case}", [300 * KIB])
        self._layer = self._image.layers[0]
        self._login = ALICE if kind == "private" or case == PUSH else None
        self._shown: str | None = None
        away.publish(self._image, self._name)
        if case in (COLD, PUSH):
            away.entrepot.client().get(away.base)  # it is known to be a registry
        else:
            self._prepare()

    def _prepare(self) -> None:
        done = self._pull(self._away.entrepot.client())
        assert done[0] == "end", done
        self._away.entrepot.await_stored([self._layer.digest])

    def attempt(self, timeout: float = 30) -> Got:
        """Pull (or begin to push) as docker does, and see how it ends."""
        entrepot = self._away.entrepot
        client, before = entrepot.client(timeout=timeout), entrepot.counter("upstream_requests")
        began = time.monotonic()
        try:
            step, answer = self._push(client) if self._case == PUSH else self._pull(client)
        except TimeoutError:
            return Got("waits", 0, "", time.monotonic() - began, 0)
        except ConnectRefusedError as error:
            return Got("CONNECT", error.status, "", time.monotonic() - began, 0)
        except (OSError, HTTPException):
            return Got("cut", 0, "", time.monotonic() - began, 0)
        seconds = time.monotonic() - began
        how = _SHORT.get(answer.cache_status, answer.cache_status) or f"{answer.status}"
        asked = entrepot.counter("upstream_requests") - before
        return Got(step, answer.status, how, seconds, asked)

    def _authorization(self, client: Client, actions: str) -> tuple[str, Answer] | str | None:
        """What to show; or the step and the answer that end the pull."""
        if self._case == REMEMBERED and self._shown:
            return self._shown
        ping = client.get(self._away.base)
        if ping.status == 200:
            return None
        if ping.status != 401:
            return "ping", ping
        realm = ping.headers["WWW-Authenticate"].split('"')[1]
        login = {"Authorization": self._login} if self._login else {}
        scope = f"repository:{self._name}:{actions}"
        token = client.get(f"{realm}?service=rig&scope={scope}", login)
        if token.status != 200:
            return "token", token
        return f"Bearer {token.json()['token']}"

    def _pull(self, client: Client) -> tuple[str, Answer]:
        shown = self._authorization(client, "pull")
        if isinstance(shown, tuple):
            return shown
        self._shown = shown or self._shown
        headers = {"Authorization": shown} if shown else {}
        reference = self._image.digest if self._case == WARM_DIGEST else "1"
        base = f"{self._away.base}{self._name}"
        manifest = client.manifest(f"{base}/manifests/{reference}", headers)
        if manifest.status != 200 or manifest.body != self._image.root.body:
            return "manifest", manifest
        blob = client.get(f"{base}/blobs/{self._layer.digest}", headers)
        if blob.status != 200 or blob.body != self._layer.read():
            return "layer", blob
        return "end", manifest

    def _push(self, client: Client) -> tuple[str, Answer]:
        shown = self._authorization(client, "pull,push")
        if isinstance(shown, tuple):
            return shown
        headers = {"Authorization": shown} if shown else {}
        url = f"{self._away.base}{self._name}/blobs/uploads/"
        answer = client.request("POST", url, headers, b"")
        return ("end" if answer.status == 202 else "upload"), answer


@contextmanager
def prepared(
    away: Away, images: ImageFactory, cases: Iterable[str] = CASES
) -> Iterator[dict[str, Column]]:
    """A running proxy that has what is warm."""
    with away:
        yield {case: Column(away, case, images) for case in cases}


def markdown(seen: Mapping[tuple[str, str], tuple[Got, Got]], faults: Iterable[Fault]) -> str:
    """A row for each fault; the first try and the one that followed."""
    head = ["fault", *CASES]
    lines = [head, ["---"] * len(head)]
    for fault in faults:
        cells = (seen[fault.name, case] for case in CASES)
        lines.append([fault.name, *(f"{one}; then {other}" for one, other in cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
