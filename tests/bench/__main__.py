"""The command line of `scripts/bench`."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from bench.peers import KINDS
from bench.report import Results, table
from bench.rows import LOADS, Load
from bench.stage import Sizes, Stage
from rig.images import MIB


def main(words: list[str] | None = None) -> int:
    options = _parser().parse_args(words)
    loads = [load for load in LOADS if not options.rows or load.name in options.rows]
    sizes = Sizes.at_most(options.size * MIB) if options.size else Sizes()
    results = Results(options.rounds, sizes)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        run(Stage(folder, sizes), loads, results)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(results, loads))
    if options.json:
        options.json.write_text(results.json() + "\n")
    return 0


def run(stage: Stage, loads: list[Load], results: Results) -> None:
    """Run every load for every peer in each round, in another order each time."""
    try:
        stage.start()
        for number in range(1, results.rounds + 1):
            for load in loads:
                peers = [key for key in load.peers if key in KINDS and not KINDS[key].missing()]
                for key in random.sample(peers, len(peers)):
                    figures = load.measure(stage, key)
                    results.add(load.name, key, figures)
                    shown = " ".join(f"{name}={value:.4g}" for name, value in figures.items())
                    print(f"round {number} {load.name} {key}: {shown}", file=sys.stderr, flush=True)
    finally:
        stage.stop()
        results.memory = stage.memory


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure Entrepôt and its peers side by side, on loopback; print the medians.",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument(
        "--rows",
        nargs="+",
        choices=[load.name for load in LOADS],
        metavar="NAME",
        help="only these: " + ", ".join(load.name for load in LOADS),
    )
    parser.add_argument("--size", type=int, metavar="MIB", help="no blob larger than this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write raw figures there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
