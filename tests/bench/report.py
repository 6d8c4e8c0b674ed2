"""The results: raw figures of every round, their medians, and the table for docs/benchmarks.md."""

import dataclasses
import datetime as dt
import json
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from bench.lines import Load, Row
from bench.measures import Figures
from bench.peers import DIRECT, KINDS, obstacle
from bench.stage import Sizes
from entrepot.version import VERSION
from rig.images import MIB
from rig.process import PATH

_MEMORY_LIMIT = 150 * MIB


class Results:
    """Figures by load and peer, one entry a round; `memory` is each peer's peak in bytes."""

    def __init__(self, rounds: int, sizes: Sizes) -> None:
        self.rounds = rounds
        self.sizes = sizes
        self.memory: dict[str, int] = {}
        self.started = dt.datetime.now(dt.UTC)
        self.failures: list[str] = []
        self._figures: dict[tuple[str, str], dict[int, Figures]] = {}

    def add(self, load: str, peer: str, number: int, figures: Figures) -> None:
        """Keep what a peer did in this round."""
        self._figures.setdefault((load, peer), {})[number] = figures

    def median(self, load: Load, row: Row, peer: str) -> float | None:
        """Return the median of a row's figure; None where the peer was not measured."""
        rounds = self._figures.get((load.name, peer), {})
        return _median([figures[row.figure] for figures in rounds.values()])

    def ratio(self, load: Load, row: Row, peer: str) -> float | None:
        """Return the median of a row's figure divided by what it compares to in the same round."""
        rounds = self._figures.get((load.name, peer), {})
        bases = rounds if row.of else self._figures.get((load.name, load.baseline), {})
        base = row.of or row.figure
        return _median(
            [
                rounds[number][row.figure] / bases[number][base]
                for number in rounds.keys() & bases.keys()
                if bases[number][base]
            ]
        )

    def json(self) -> str:
        """Return everything: the machine, the versions, each round's raw figures."""
        return json.dumps(
            {
                "date": self.started.isoformat(timespec="seconds"),
                "machine": machine(),
                "versions": versions(),
                "rounds": self.rounds,
                "sizes": dataclasses.asdict(self.sizes),
                "failures": self.failures,
                "peak_memory_bytes": self.memory,
                "figures": [
                    {"load": load, "peer": peer, "rounds": list(rounds.values())}
                    for (load, peer), rounds in self._figures.items()
                ],
            },
            indent=1,
        )


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def table(results: Results, loads: Iterable[Load]) -> str:
    """Return the Markdown table: a line for each row, a column for each peer."""
    loads = list(loads)
    keys = [key for key in KINDS if any(key in load.peers for load in loads)]
    lines = [["", *(KINDS[key].title for key in keys), "target"]]
    lines += [
        [
            f"{row.title}, {row.unit}" if row.unit else row.title,
            *(_cell(results, load, row, key) for key in keys),
            _target(results, load, row),
        ]
        for load in loads
        for row in load.rows
    ]
    memory = results.memory.get("entrepot")
    lines.append(
        [
            "peak memory, MiB",
            *(_memory(results, key) for key in keys),
            _verdict("at most 150", memory <= _MEMORY_LIMIT if memory else None),
        ]
    )
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(results: Results, load: Load, row: Row, key: str) -> str:
    if key not in load.peers:
        return "–"  # noqa: RUF001 - a dash
    if why := obstacle(key, load.needs):
        return why
    median, ratio = results.median(load, row, key), results.ratio(load, row, key)
    if median is None:
        return "failed"
    text = _number(median)
    return text if ratio is None or key == load.baseline else f"{text} ({ratio:.2f}×)"  # noqa: RUF001 - the sign for times


def _target(results: Results, load: Load, row: Row) -> str:
    target = row.target
    if target is None:
        return ""
    reached = (results.ratio if target.of_ratio else results.median)(load, row, "entrepot")
    said = "at least" if target.at_least else "at most"
    said += f" {target.limit:g}" + ("×" if target.of_ratio else "")  # noqa: RUF001
    return _verdict(said, None if reached is None else target.reached(reached))


def _verdict(said: str, reached: bool | None) -> str:  # noqa: FBT001 - what it says
    if reached is None:
        return f"{said}: not measured"
    return f"{said}: {'reached' if reached else '**missed**'}"


def _memory(results: Results, key: str) -> str:
    if key == DIRECT:
        return ""
    if why := obstacle(key):
        return why
    return f"{results.memory[key] / MIB:.0f}" if key in results.memory else ""


def _number(value: float) -> str:
    """Return three digits that count, and no exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def machine() -> dict[str, object]:
    """Return what the figures depend on most."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "kernel": platform.release(),
    }


def versions() -> dict[str, str]:
    """Return the versions of all that took part."""
    found = {
        "python": platform.python_version(),
        "entrepot": VERSION,
        "mitmproxy": version("mitmproxy"),
    }
    commands = {
        "nginx": ["nginx", "-v"],
        "squid": ["squid", "-v"],
        "docker-registry": ["docker-registry", "--version"],
        "dockerd": ["dockerd", "--version"],
        "curl": ["curl", "--version"],
        "openssl": ["openssl", "version"],
    }
    for name, command in commands.items():
        try:
            ran = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env={"PATH": PATH},
                check=False,
            )
        except FileNotFoundError:
            found[name] = "not installed"
        else:
            found[name] = (ran.stdout + ran.stderr).partition("\n")[0]
    return found
