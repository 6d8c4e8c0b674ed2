"""A client with exactly the calls of `ollama pull`; Ollama itself has 1.5 GB of libraries.

Source: https://github.com/ollama/ollama at v0.32.15: `server/images.go` (`PullModel`,
`makeRequest`), `server/download.go` (`blobDownload`), `server/auth.go`, and for models of many
tensors `x/transfer/download.go`. The same since v0.3.1 (July 2024) but for a 200 with a `Location`,
which is taken since v0.3.10; the stall rule was 5 s before v0.5.8. What differs here: parts may be
smaller, the login is the rig's Basic instead of a signature, and a token server on another host is
asked too, as before v0.14.3.
"""

import hashlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlencode, urljoin, urlsplit

from rig.client import Client

PARTS = 16
_AGENT = "ollama/0.32.15 (amd64 linux) Go/go1.26.0"
_GO = "Go-http-client/1.1"
_TRANSFER = "ollama-transfer/1.0"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_TRIES = 6


class PullError(Exception):
    """What `ollama pull` says at its end."""


class Killed(BaseException):
    """The client is gone, in the middle of a part."""


@dataclass(frozen=True, slots=True)
class Url:
    """A URL as Go keeps it: the host in the letters in which it was written."""

    scheme: str
    host: str
    target: str

    @classmethod
    def parse(cls, text: str) -> Self:
        parts = urlsplit(text)
        return cls(parts.scheme, parts.netloc, text.partition(parts.netloc)[2] or "/")

    def location(self, said: str | None) -> Self:
        """What `Response.Location` gives."""
        if said is None:
            raise PullError("http: no Location header in response")
        return self.parse(urljoin(str(self), said))

    @property
    def hostname(self) -> str:
        return self.host.rpartition(":")[0] if self.host.rpartition(":")[2].isdigit() else self.host

    @property
    def port(self) -> int:
        digits = self.host.rpartition(":")[2]
        return int(digits) if digits.isdigit() else {"http": 80, "https": 443}[self.scheme]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{self.target}"


@dataclass(slots=True)
class Part:
    """A part of a blob, as it is kept beside it (`jsonBlobDownloadPart`)."""

    n: int
    offset: int
    size: int
    completed: int = 0


@dataclass(slots=True)
class Ollama:
    """Pulls by a proxy, or plainly by its port where it has none: `client` None.

    `basic` is the login that it has for token servers. `told` are the addresses that it was sent
    to, `stalls` how often no byte came for `stall_seconds`. `die_after` ends it after so many bytes
    of parts.
    """

    client: Client | None
    folder: Path
    basic: str | None = None
    least_part: int = 100_000_000
    stall_seconds: float = 30.0
    die_after: int | None = None
    told: list[Url] = field(default_factory=list)
    requested: list[tuple[str, Url, int]] = field(default_factory=list)
    stalls: int = 0
    _token: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pull(self, registry: str, name: str, tag: str) -> dict[str, Path]:
        """Pull a model of a registry (`https://HOST`); its blobs by digest, verified."""
        self.folder.mkdir(parents=True, exist_ok=True)
        base = f"{registry}/v2/{name}"
        with self._asked("GET", f"{base}/manifests/{tag}", {"Accept": _MANIFEST}) as answer:
            manifest = json.loads(answer.read())
        layers = [*manifest["layers"], manifest["config"]]
        fetch = self._download
        if any(layer["mediaType"] == "application/vnd.ollama.image.tensor" for layer in layers):
            fetch = self._transfer
        for layer in layers:
            if not self._file(layer["digest"]).exists():
                fetch(base, layer["digest"], layer["size"])
        return {layer["digest"]: self._file(layer["digest"]) for layer in layers}

    def _file(self, digest: str) -> Path:
        return self.folder / digest.replace(":", "-")

    # server/download.go

    def _download(self, base: str, digest: str, size: int) -> None:
        url, partial = f"{base}/blobs/{digest}", Path(f"{self._file(digest)}-partial")
        parts = self._prepare(url, partial)
        direct = self._direct_url(url)
        self.told.append(direct)
        total = sum(part.size for part in parts)
        if total != size:
            raise PullError(f"HEAD said {total} bytes, the manifest {size}")
        with partial.open("r+b" if partial.exists() else "w+b") as file:
            file.truncate(total)
        with ThreadPoolExecutor(PARTS) as pool:
            waiting = [pool.submit(self._part, direct, partial, p) for p in parts]
            for one in waiting:
                one.result()
        if f"sha256:{hashlib.sha256(partial.read_bytes()).hexdigest()}" != digest:
            partial.unlink()
            raise PullError("digest mismatch, file must be downloaded again")
        for part in parts:
            Path(f"{partial}-{part.n}").unlink()
        partial.rename(self._file(digest))

    def _prepare(self, url: str, partial: Path) -> list[Part]:
        kept = sorted(partial.parent.glob(f"{partial.name}-*"), key=lambda p: int(p.suffix or 0))
        if kept:
            return [Part(**json.loads(file.read_text())) for file in kept]
        with self._asked("HEAD", url, {}) as answer:
            total = int(answer.headers.get("Content-Length", 0))
        size = min(max(total // PARTS, self.least_part), 1_000_000_000)
        offsets = range(0, total, size)
        parts = [Part(n, o, min(size, total - o)) for n, o in enumerate(offsets)]
        for part in parts:
            self._write(partial, part)
        return parts

    @staticmethod
    def _write(partial: Path, part: Part) -> None:
        Path(f"{partial}-{part.n}").write_text(json.dumps(asdict(part)))

    def _direct_url(self, url: str) -> Url:
        """The first redirect to another host, or a 200's own `Location`; no body is read."""
        with self._asked("GET", url, {}, follow=lambda a, b: a.hostname == b.hostname) as answer:
            if answer.status not in (200, 307):
                raise PullError(f"unexpected status code {answer.status}")
            return self.requested[-1][1].location(answer.headers.get("Location"))

    def _part(self, direct: Url, partial: Path, part: Part) -> None:
        tried = 0
        while part.completed < part.size:
            try:
                self._chunk(direct, partial, part)
            except TimeoutError:
                self.stalls += 1
            except (OSError, EOFError, http.client.HTTPException) as error:
                tried += 1
                if tried == _TRIES:
                    raise PullError(f"max retries exceeded: {error!r}") from error

    def _chunk(self, direct: Url, partial: Path, part: Part) -> None:
        start = part.offset + part.completed
        wanted = f"bytes={start}-{part.offset + part.size - 1}"
        headers = {"User-Agent": _GO, "Range": wanted}
        with self._sent("GET", direct, headers) as answer, partial.open("r+b") as file:
            file.seek(start)
            came = 0
            try:
                while came < part.size - part.completed:
                    block = answer.read1(min(1 << 16, part.size - part.completed - came))
                    if not block:
                        raise EOFError(f"{answer.status} {came} bytes for {wanted}")
                    file.write(block)
                    came += len(block)
                    self._count(len(block))
            except (http.client.IncompleteRead, Killed):
                part.completed += came  # as it keeps what came before the connection broke
                self._write(partial, part)
                raise
            part.completed += came
            self._write(partial, part)

    def _count(self, count: int) -> None:
        with self._lock:
            if self.die_after is not None:
                self.die_after -= count
                if self.die_after < 0:
                    raise Killed

    # x/transfer/download.go

    def _transfer(self, base: str, digest: str, size: int) -> None:
        url = self._resolve(Url.parse(f"{base}/blobs/{digest}"))
        self.told.append(url)
        headers = {"User-Agent": _TRANSFER}
        if url.host == urlsplit(base).netloc and self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        with self._sent("GET", url, headers) as answer:
            body = answer.read()
        if answer.status != 200 or len(body) != size:
            raise PullError(f"status {answer.status}, {len(body)} bytes")
        if f"sha256:{hashlib.sha256(body).hexdigest()}" != digest:
            raise PullError("digest mismatch")
        self._file(digest).write_bytes(body)

    def _resolve(self, url: Url) -> Url:
        for _ in range(10):
            headers = {"User-Agent": _TRANSFER}
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            with self._sent("GET", url, headers) as answer:
                answer.read()  # drained, so that the connection can be used again
            if answer.status == 200:
                return url
            if answer.status == 401:
                self._token = self._fetch_token(answer.headers.get("WWW-Authenticate", ""))
            elif answer.status in (301, 302, 307):
                found = url.location(answer.headers.get("Location"))
                if found.host != url.host:
                    return found
                url = found
            else:
                raise PullError(f"status {answer.status}")
        raise PullError("too many redirects")

    # server/images.go, server/auth.go

    @contextmanager
    def _asked(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        follow: Callable[[Url, Url], bool] = lambda _a, _b: True,
    ) -> Iterator[http.client.HTTPResponse]:
        """`makeRequestWithRetry`: a token after the first 401, redirects as `follow` says."""
        for _ in range(2):
            sent = {**headers, "User-Agent": _AGENT}
            if self._token:
                sent["Authorization"] = f"Bearer {self._token}"
            with self._followed(method, Url.parse(url), sent, follow) as answer:
                if answer.status == 401:
                    self._token = self._fetch_token(answer.headers.get("WWW-Authenticate", ""))
                elif answer.status >= 400:
                    raise PullError(f"{answer.status}: {answer.read()!r}")
                else:
                    yield answer
                    return
        raise PullError("unauthorized: access denied")

    @contextmanager
    def _followed(
        self, method: str, url: Url, headers: dict[str, str], follow: Callable[[Url, Url], bool]
    ) -> Iterator[http.client.HTTPResponse]:
        first = url
        for _ in range(10):
            with self._sent(method, url, headers) as answer:
                redirected = answer.status in (301, 302, 303, 307, 308)
                target = url.location(answer.headers.get("Location")) if redirected else url
                if not redirected or not follow(target, first):
                    yield answer
                    return
            if target.hostname != first.hostname:
                headers = {k: v for k, v in headers.items() if k != "Authorization"}
            url = target
        raise PullError("stopped after 10 redirects")

    def _fetch_token(self, challenge: str) -> str:
        said = dict(
            pair.strip().split("=", 1) for pair in challenge.removeprefix("Bearer ").split(",")
        )
        fields = {name: value.strip('"') for name, value in said.items()}
        query = urlencode({**{n: fields[n] for n in ("service", "scope")}, "ts": 1, "nonce": "x"})
        headers = {"User-Agent": _AGENT}
        if self.basic:
            headers["Authorization"] = self.basic
        with self._sent("GET", Url.parse(f"{fields['realm']}?{query}"), headers) as answer:
            if answer.status >= 400:
                raise PullError(f"{answer.status}")
            return str(json.loads(answer.read())["token"])

    @contextmanager
    def _sent(
        self, method: str, url: Url, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """One request on a connection of its own; the host in the letters of the URL, as Go."""
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=self.stall_seconds)
        with closing(connection):
            target = url.target
            if self.client is not None and url.scheme == "https":
                connection.sock = self.client.tunnel(url.hostname, url.port)
                connection.sock.settimeout(self.stall_seconds)
            elif self.client is not None:
                connection.sock = self.client.dial()
                target = str(url)
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", url.host)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            with closing(connection.getresponse()) as answer:
                self.requested.append((method, url, answer.status))
                yield answer
