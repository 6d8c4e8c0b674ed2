"""The bench runs from end to end with small sizes; its figures are of no interest here."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.lines import Load, Row, at_least, at_most
from bench.peers import ENGINE, KINDS, obstacle
from bench.relay import Relay
from bench.report import Results, table
from bench.rows import LOADS
from bench.stage import Sizes
from rig.needs import need
from rig.ports import free_port
from rig.process import clean_environment

TESTS = Path(__file__).parents[1]
WITHOUT_ENGINE = [load for load in LOADS if load.needs is not ENGINE]


@pytest.mark.slow
def test_every_row_is_measured_of_every_peer_that_is_here(tmp_path: Path) -> None:
    need("nginx", "docker-registry", "setpriv", "curl")
    raw = tmp_path / "bench.json"
    names = [load.name for load in WITHOUT_ENGINE]
    run = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--size=1", f"--json={raw}", "--rows", *names],
        capture_output=True,
        text=True,
        env=clean_environment(tmp_path, PYTHONPATH=str(TESTS)),
        check=False,
    )
    assert run.returncode == 0, run.stderr
    written = json.loads(raw.read_text())
    assert {(one["load"], one["peer"]) for one in written["figures"]} == {
        (load.name, key)
        for load in WITHOUT_ENGINE
        for key in load.peers
        if not obstacle(key, load.needs)
    }
    assert all(len(one["rounds"]) == 1 for one in written["figures"])
    assert {"machine", "versions", "date", "sizes", "peak_memory_bytes"} <= written.keys()
    lines = [line for line in run.stdout.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + sum(len(load.rows) for load in WITHOUT_ENGINE) + 1
    assert {line.count("|") for line in lines} == {len(KINDS) + 3}
    assert ("not installed" in run.stdout) == any(map(_is_absent, KINDS))


def _is_absent(key: str) -> bool:
    return obstacle(key) == "not installed"


def _load(row: Row) -> Load:
    return Load("load", lambda _stage, _key: {}, ("entrepot", "nginx"), (row,), baseline="nginx")


def test_ratios_are_of_the_same_round_and_medians_of_all() -> None:
    need("nginx")
    row = Row("fetch", "speed", "GB/s", at_least(0.6, of_ratio=True))
    results = Results(3, Sizes())
    for number, (ours, theirs) in enumerate([(1.0, 2.0), (3.0, 4.0), (9.0, 10.0)]):
        results.add("load", "entrepot", number, {"speed": ours})
        results.add("load", "nginx", number, {"speed": theirs})
    load = _load(row)
    assert results.median(load, row, "entrepot") == 3
    assert results.ratio(load, row, "entrepot") == 0.75
    (line,) = [line for line in table(results, [load]).splitlines() if "fetch" in line]
    assert line == "| fetch, GB/s | 3 (0.75×) | 4 | at least 0.6×: reached |"  # noqa: RUF001 - the sign for times


def test_a_ratio_can_be_to_another_figure_of_the_same_peer() -> None:
    row = Row("redirected", "redirected", "GB/s", at_least(0.95, of_ratio=True), of="speed")
    results = Results(3, Sizes())
    for number, (by_connect, redirected) in enumerate([(1.0, 0.5), (2.0, 1.8), (1.0, 1.1)]):
        figures = {"speed": by_connect, "redirected": redirected}
        results.add("load", "entrepot", number, figures)
    load = Load("load", lambda _stage, _key: {}, ("entrepot",), (row,))
    (line,) = [line for line in table(results, [load]).splitlines() if "redirected" in line]
    assert line == "| redirected, GB/s | 1.1 (0.90×) | at least 0.95×: **missed** |"  # noqa: RUF001 - the sign for times


def test_a_row_that_could_not_be_measured_says_so() -> None:
    need("nginx")
    row = Row("fetch", "seconds", "s", at_most(2))
    results = Results(1, Sizes())
    results.add("load", "nginx", 1, {"seconds": 3.0})
    (line,) = [line for line in table(results, [_load(row)]).splitlines() if "fetch" in line]
    assert line == "| fetch, s | failed | 3 | at most 2: not measured |"


def test_the_relay_is_as_far_away_as_told(tmp_path: Path) -> None:
    """A new connection takes a round trip, and each answer another."""
    need("setpriv")
    far = 0.1
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = free_port()
        relay = Relay(tmp_path, listen, server.getsockname()[1], far)
        relay.daemon.start()
        server.accept()[0].close()  # it was asked whether it listens
        try:
            start = time.monotonic()
            with socket.create_connection(("127.0.0.1", listen), timeout=30) as client:
                client.sendall(b"ping")
                accepted, _ = server.accept()
                with accepted:
                    assert accepted.recv(4) == b"ping"
                    accepted.sendall(b"pong")
                assert client.recv(4) == b"pong"
                assert time.monotonic() - start >= 2 * far
                assert client.recv(1) == b""
        finally:
            relay.daemon.kill9()


def test_the_relay_sends_no_faster_than_told_from_the_first_byte(tmp_path: Path) -> None:
    need("setpriv")
    rate, size = 4_000_000, 1_000_000
    with socket.create_server(("127.0.0.1", 0)) as server:
        listen = free_port()
        relay = Relay(tmp_path, listen, server.getsockname()[1], 0.01, rate)
        relay.daemon.start()
        server.accept()[0].close()  # it was asked whether it listens
        try:
            with socket.create_connection(("127.0.0.1", listen), timeout=30) as client:
                accepted, _ = server.accept()
                start = time.monotonic()
                with accepted:
                    accepted.sendall(bytes(size))
                assert sum(len(data) for data in iter(lambda: client.recv(65536), b"")) == size
                assert time.monotonic() - start >= size / rate
        finally:
            relay.daemon.kill9()
