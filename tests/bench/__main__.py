"""The command line of `scripts/bench`."""

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.lines import Load
from bench.peers import ENGINE, obstacle
from bench.report import Results, table
from bench.rows import LOADS
from bench.stage import Sizes, Stage
from rig.images import MIB
from rig.process import PATH, RigError

_QUICK = 64
_NEEDED = ("curl", "docker-registry", "nginx", "setpriv")  # the origin and the clients


def main(words: list[str] | None = None) -> int:
    """Run, print the table, and return 1 where something could not be measured."""
    options = _parser().parse_args(words)
    if lacking := [name for name in _NEEDED if shutil.which(name, path=PATH) is None]:
        print(f"scripts/bench: not installed: {', '.join(lacking)}", file=sys.stderr)
        return 2
    if options.quick:
        options.rounds, options.size = 1, options.size or _QUICK
    loads = [load for load in LOADS if not options.rows or load.name in options.rows]
    sizes = Sizes.at_most(options.size * MIB) if options.size else Sizes()
    results = Results(options.rounds, sizes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir="/tmp"))
    folder.chmod(0o711)  # squid gives up root, and must find its own
    try:
        run(Stage(folder, sizes), loads, results)
    except KeyboardInterrupt:
        results.failures.append("interrupted")
        print("interrupted: this is what was measured so far", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table(results, loads))
    if options.size:
        print(
            f"\nA short run: blobs of at most {options.size} MiB, at most {sizes.clients} clients."
        )
    if options.json:
        options.json.write_text(results.json() + "\n")
    return 1 if results.failures else 0


def run(stage: Stage, loads: list[Load], results: Results) -> None:
    """Run every load for every peer in each round, in another order each time."""
    try:
        stage.start(engines=any(load.needs is ENGINE for load in loads))
        for number in range(1, results.rounds + 1):
            for load in loads:
                peers = [key for key in load.peers if not obstacle(key, load.needs)]
                for key in random.sample(peers, len(peers)):
                    _measure(stage, load, key, number, results)
    finally:
        stage.stop()
        results.memory = stage.memory


def _measure(stage: Stage, load: Load, key: str, number: int, results: Results) -> None:
    what = f"round {number} {load.name} {key}:"
    try:
        figures = load.measure(stage, key)
    except (RigError, OSError, subprocess.TimeoutExpired) as error:
        results.failures.append(f"{what} {error}")
        print(what, error, file=sys.stderr)
        return
    results.add(load.name, key, number, figures)
    shown = (f"{name}={value:.4g}" for name, value in figures.items())
    print(what, *shown, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    names = [load.name for load in LOADS]
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure Entrepôt and its peers side by side, all on loopback, and print a "
        "Markdown table of medians and of ratios within a round.",
        epilog="As root, packages of peers that are missing are installed first (apt-get), unless "
        "--no-install is given.",
    )
    parser.add_argument("--rounds", type=_positive, default=5, metavar="N", help="default 5")
    parser.add_argument(
        "--rows",
        nargs="+",
        choices=names,
        metavar="NAME",
        help=f"measure these only, of: {', '.join(names)}",
    )
    parser.add_argument(
        "--size",
        type=_positive,
        metavar="MIB",
        help="nothing larger than this; fewer requests and clients",
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"one round, as with --size {_QUICK} unless given"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every round's raw figures there"
    )
    return parser


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {word!r}, want 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
