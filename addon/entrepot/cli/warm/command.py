"""``entrepot warm``: images are pulled into the cache through the running proxy."""

import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from entrepot.app.start_error import StartError
from entrepot.cli.images.administrator import print_json
from entrepot.cli.images.text_table import print_table, size
from entrepot.cli.warm.image_pull import ImagePull, Pulled, Wanted, own_platform
from entrepot.cli.warm.layer_bars import layer_bars
from entrepot.cli.warm.registry_client import docker_config_file, through
from entrepot.config.addresses import UpstreamProxy
from entrepot.config.settings import Config
from entrepot.control.client import connected

MOST_JOBS = 16


@dataclass(frozen=True, slots=True)
class WarmOptions:
    """How to pull."""

    platforms: tuple[str, ...] = ()
    """As `linux/arm64`, or `all`; none: that of this machine."""
    jobs: int = 4
    """How many images at once, and how many blobs."""
    proxy: UpstreamProxy | None = None
    """Another proxy than the one that runs on the data folder."""
    ca: Path | None = None
    """A file with its authority; None: one on this machine is asked, else the system knows it."""


def run(config: Config, names: Iterable[str], form: str, options: WarmOptions) -> None:
    """Pull them and say what came of each. Raises ``StartError``, also where one failed."""
    wanted = _wanted(names)
    proxy = options.proxy or _own_proxy(config.data)
    platforms = options.platforms or (own_platform(),)
    docker_config = config.docker_config or docker_config_file()
    with (
        through(proxy, options.ca, docker_config) as client,
        layer_bars() as bars,
        ThreadPoolExecutor(options.jobs, "image") as images,
        ThreadPoolExecutor(options.jobs, "blob") as blobs,
    ):
        pull = ImagePull(client, platforms, blobs, bars)
        pulled = list(images.map(pull.run, wanted))
    _print(pulled, form)
    if failed := [one for one in pulled if one.error is not None]:
        raise StartError(f"{len(failed)} of {len(pulled)} images could not be pulled")


def _wanted(names: Iterable[str]) -> Sequence[Wanted]:
    try:
        wanted = [Wanted.parse(name) for name in dict.fromkeys(names)]
    except ValueError as error:
        raise StartError(str(error)) from None
    if not wanted:
        raise StartError("there is no image to pull")
    return wanted


def _own_proxy(folder: Path) -> UpstreamProxy:
    """The proxy that runs on a data folder."""
    if folder.is_dir():
        with connected(folder) as ask:
            if ask is not None:
                told = ask({"do": "proxy"})
                if not told["ok"]:
                    raise StartError(told["error"])
                return UpstreamProxy.parse(told["url"])
    raise StartError(f"no proxy runs on {str(folder)!r}; start it, or name one by --proxy URL")


def _print(pulled: Sequence[Pulled], form: str) -> None:
    if form == "json":
        failed = sum(one.error is not None for one in pulled)
        print_json({"images": [_document(one) for one in pulled], "failed": failed})
        return
    rows = [
        [one.name, str(one.blobs), size(one.fetched), size(one.held), one.error or "cached"]
        for one in pulled
    ]
    print_table(["IMAGE", "BLOBS", "FETCHED", "HELD", "STATE"], rows, {1, 2, 3})
    sys.stdout.flush()


def _document(one: Pulled) -> dict[str, object]:
    return {
        "name": one.name,
        "digest": one.digest,
        "platforms": one.platforms,
        "blobs": one.blobs,
        "fetched": one.fetched,
        "held": one.held,
        "error": one.error,
    }
