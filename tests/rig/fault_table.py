"""What each container client sees of each fault, directly and through the cache, as Markdown."""

import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.broken import FAULTS, HOSTS, BrokenRegistries, Fault
from rig.certs import Authority
from rig.clients import Containerd, Dockerd, Podman, RealClient, Skopeo
from rig.corporate import CorporateProxy
from rig.images import KIB, Image, ImageFactory
from rig.proxy import Entrepot
from rig.route import Route, bundle

ENGINES: Mapping[str, Callable[[Path, Route], RealClient]] = {
    "docker": lambda folder, route: Dockerd(
        folder, route, options=("--max-concurrent-downloads=50",)
    ),
    "containerd": Containerd,
    "podman": Podman,
    "skopeo": Skopeo,
}
DIRECT, CACHED = "direct", "Entrepôt"

WAITS = "waits"
_LONGEST_TEXT = 110
_VARYING = (
    (r"^(ctr|Error|Error response from daemon): ", ""),
    (r"sha256:[0-9a-f]{6,}", "sha256:…"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:…"),
    (r"https?://\S*?(?=[\"': ]|$)", "URL"),
    (r"\"/v2/[^\"]*\"", '"URL"'),
    (r"[\w.-]+\.example\.test\S*?/\S+?(?=[\"': ]|$)", "IMAGE"),
    (r"(host|registry) [\w.-]+\.example\.test", r"\1 HOST"),
    (r"\d+ != \d+", "m != n"),
    (r"\d{4}-\d\d-\d\dT[\d:]+Z", "DATE"),
)
"""What differs from one pull to the next."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a pull ended: the client's words where it failed, and what the registry was asked."""

    ok: bool
    text: str
    asked: int


class Lane:
    """One client by one route; its pulls run a few at a time, since most of them wait."""

    def __init__(self, kind: str, route: str, client: RealClient, at_once: int) -> None:
        self.kind, self.route = kind, route
        self._client = client
        self._pool = ThreadPoolExecutor(at_once)

    @property
    def name(self) -> str:
        return f"{self.kind}-{'direct' if self.route == DIRECT else 'cached'}"

    def repository(self, fault: Fault) -> str:
        return f"{fault.slug}/{self.name}"

    def submit(
        self, fault: Fault, image: Image, broken: BrokenRegistries, seconds: int
    ) -> "Future[Seen]":
        """Pull an image that is spoilt so, for at most that long."""
        return self._pool.submit(self._pull, fault, image, broken, seconds)

    def _pull(self, fault: Fault, image: Image, broken: BrokenRegistries, seconds: int) -> Seen:
        repository = self.repository(fault)
        published = broken.publish(image, repository, fault)
        try:
            done = self._client.pull(f"{fault.host}/{repository}:1", timeout=seconds)
        except subprocess.TimeoutExpired:
            return Seen(ok=False, text=WAITS, asked=published.asked())
        asked = published.asked()
        broken.mend(published)  # some faults are large
        ok = done.returncode == 0
        return Seen(ok, "" if ok else shortened(done.stderr or done.stdout), asked)

    def stop(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._client.stop()


@contextmanager
def lanes(
    folder: Path,
    broken: BrokenRegistries,
    authority: Authority,
    routes: Iterable[str] = (DIRECT, CACHED),
    at_once: int = 1,
) -> Iterator[list[Lane]]:
    """Every client by each route: a blind tunnel to what is broken, and Entrepôt."""
    with ExitStack() as stack:
        ways = {}
        if DIRECT in routes:
            tunnel = CorporateProxy(broken.resolve)
            stack.callback(tunnel.stop)
            trusted = bundle(folder / "direct.pem", authority.pem.read_bytes())
            ways[DIRECT] = Route(tunnel.url, trusted)
        if CACHED in routes:
            options = {"upstream_ca": str(authority.pem), "resolve": broken.resolve}
            entrepot = Entrepot(folder / "entrepot", {**options, "registry": [*HOSTS, "127.0.0.1"]})
            stack.callback(entrepot.kill9)
            entrepot.start()
            ways[CACHED] = entrepot.route()
        made: list[Lane] = []
        for kind, make in ENGINES.items():
            for name, route in ways.items():
                client = make(folder / f"{kind}-{len(made)}", route)
                made.append(Lane(kind, name, client, at_once))
                stack.callback(made[-1].stop)
                client.start()
        yield made


def pull_all(
    all_lanes: list[Lane],
    faults: Iterable[Fault],
    broken: BrokenRegistries,
    images: ImageFactory,
    seconds: int,
) -> dict[tuple[str, str], Seen]:
    """Every fault in every lane: (fault, lane) -> what was seen."""
    cells = [(fault, lane) for fault in faults for lane in all_lanes]
    made = {cell: images.image(cell[1].repository(cell[0]), [64 * KIB]) for cell in cells}
    seen = {}
    for alone in (False, True):
        futures = {
            (fault.name, lane.name): lane.submit(fault, made[fault, lane], broken, seconds)
            for fault, lane in cells
            if fault.alone is alone
        }
        seen.update({cell: future.result() for cell, future in futures.items()})
    return seen


def shortened(output: str) -> str:
    """The end of what a client said, without what differs from one pull to the next."""
    lines = [line for line in output.splitlines() if line.strip()]
    text = lines[-1].strip() if lines else "(nothing)"
    logged = re.search(r'msg="(.*)"$', text)
    text = logged[1].replace('\\"', '"') if logged else text
    for pattern, word in _VARYING:
        text = re.sub(pattern, word, text)
    parts = text.split(": ")
    while len(parts) > 1 and len(": ".join(parts)) > _LONGEST_TEXT:
        parts.pop(0)
    return ": ".join(parts)[-_LONGEST_TEXT:]


def markdown(all_lanes: list[Lane], seen: Mapping[tuple[str, str], Seen]) -> str:
    """The table, and below it the clients' words, numbered."""
    texts: dict[str, int] = {}

    def cell(fault: str, lane: Lane) -> str:
        one, well = seen[fault, lane.name], seen["none", lane.name]
        if one.text == WAITS:
            return WAITS
        if not one.ok:
            return f"fails [{texts.setdefault(one.text, len(texts) + 1)}]"
        more = one.asked - well.asked
        return "ok" if more <= 0 else f"ok (+{more})"

    names = [fault.name for fault in FAULTS if (fault.name, all_lanes[0].name) in seen]
    rows = [[name, *(cell(name, lane) for lane in all_lanes)] for name in names]
    head = ["fault", *(f"{lane.kind}, {lane.route}" for lane in all_lanes)]
    well = [sum(seen[name, lane.name].ok for name in names) for lane in all_lanes]
    total = [f"**well, of {len(names)}**", *(f"**{count}**" for count in well)]
    lines = [head, ["---"] * len(head), *rows, total]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    words = "\n".join(f"{number}. `{text}`" for text, number in texts.items())
    return f"{table}\n\nThe ends of what they say:\n\n{words}\n"
