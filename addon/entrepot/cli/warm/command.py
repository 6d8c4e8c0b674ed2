"""``entrepot warm``: images are pulled into the cache through the running proxy."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.frame.definition import FOLDER, TABLE_FORMS, command
from entrepot.cli.frame.output import print_document
from entrepot.cli.frame.progress import Progress
from entrepot.cli.frame.text_table import print_table, size
from entrepot.cli.frame.values import parsed
from entrepot.cli.warm.image_pull import ImagePull, Pulled, Wanted, own_platform
from entrepot.cli.warm.registry_client import docker_config_file, through
from entrepot.cli.warm.sources import images_from, images_of_kubectl
from entrepot.config.addresses import UpstreamProxy
from entrepot.config.settings import Config
from entrepot.control.client import connected

MOST_JOBS = 16
_IMAGE = typer.Argument(metavar="[IMAGE]...", help="redis:7, HOST/NAME:TAG or HOST/NAME@DIGEST")
_SOURCE = typer.Option(
    "--from",
    metavar="FILE|-",
    help="the images that this names: a compose file, Kubernetes objects, what Helm writes, a"
    " Dockerfile, or a list; repeatable",
)
_PLATFORM = typer.Option(
    "--platform", metavar="OS/ARCH,…", help="for these, or all; this machine's by default"
)
_CONTEXT = typer.Option("--context", metavar="NAME", help="with --kubectl: another context")
_JOBS = typer.Option("--jobs", metavar="N", min=1, max=MOST_JOBS, help="so much at once")
_PROXY = typer.Option(
    "--proxy", metavar="URL", help="through this proxy, not the one of the data folder"
)
_CA = typer.Option("--ca", metavar="FILE", help="its certificate, if the system does not trust it")


@command(
    settings=(*FOLDER, "docker_config"),
    forms=TABLE_FORMS,
    details="Pulls through the running proxy, so that the next pulls are hits. Registries are asked"
    " with the logins of docker's config.json of who runs it, or by the proxy's own accounts."
    " Ends with 1 where an image could not be pulled, and says which and why.",
    examples=(
        ("entrepot warm redis:7 ghcr.io/acme/app:1.4.2", "two images, for this machine's platform"),
        ("entrepot warm --from compose.yaml --platform linux/amd64,linux/arm64", "of a file"),
        ("entrepot warm --from rendered.yaml", "all that helm template wrote there"),
        ("entrepot warm --kubectl", "what the pods of the current cluster run"),
    ),
)
def warm(
    config: Config,
    form: str,
    names: Annotated[list[str] | None, _IMAGE] = None,
    *,
    sources: Annotated[list[str] | None, _SOURCE] = None,
    kubectl: Annotated[
        bool, typer.Option("--kubectl", help="what the pods of a cluster run, as kubectl says")
    ] = False,
    context: Annotated[str | None, _CONTEXT] = None,
    platforms: Annotated[str | None, _PLATFORM] = None,
    jobs: Annotated[int, _JOBS] = 4,
    proxy: Annotated[str | None, _PROXY] = None,
    ca: Annotated[Path | None, _CA] = None,
) -> None:
    """Pull them and say what came of each. Raises ``StartError``, also where one failed."""
    found = list(names or [])
    for source in sources or []:
        found += images_from(source, os.environ)
    if kubectl:
        found += images_of_kubectl(context)
    wanted = _wanted(found)
    road = parsed(UpstreamProxy.parse, proxy, "--proxy") or _own_proxy(config.data)
    chosen = platforms.split(",") if platforms else [own_platform()]
    docker_config = config.docker_config or docker_config_file()
    with (
        through(road, ca, docker_config) as client,
        Progress("pulling") as progress,
        ThreadPoolExecutor(jobs, "image") as images,
        ThreadPoolExecutor(jobs, "blob") as blobs,
    ):
        pull = ImagePull(client, chosen, blobs, progress)
        try:
            pulled = list(images.map(pull.run, wanted))
        except KeyboardInterrupt:
            pull.stop()
            raise
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
    if form != "table":
        failed = sum(one.error is not None for one in pulled)
        print_document({"images": [_document(one) for one in pulled], "failed": failed}, form)
        return
    rows = [
        [one.name, str(one.blobs), size(one.fetched), size(one.held), one.error or "cached"]
        for one in pulled
    ]
    print_table(["IMAGE", "BLOBS", "FETCHED", "HELD", "STATE"], rows, {1, 2, 3})


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
