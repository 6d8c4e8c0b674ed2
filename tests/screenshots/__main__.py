"""Takes the pictures of `docs/images`: of a proxy with a demo folder and layers under way."""

import argparse
import contextlib
import ssl
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rig.browser import PHONE, Scheme, Watched, chromium, watched
from rig.faults import Gate
from rig.page import TOKEN
from rig.process import eventually
from rig.stage_page import GHCR, HUB, QUAY, Stage, stage

IMAGES = Path(__file__).parents[2] / "docs" / "images"
LARGEST = 200 * 1024
"""Bytes of a picture."""
_DESKTOP = {"width": 1280, "height": 900}
_EACH_SECOND = 700_000


@dataclass(frozen=True, slots=True)
class Picture:
    """One file: a page, at a size, in a scheme."""

    name: str
    path: str
    scheme: Scheme
    phone: bool = False


PICTURES = (
    Picture("overview-light", "/", "light"),
    Picture("overview-dark", "/?period=week", "dark"),
    Picture("images-light", "/ui/images?sort=size", "light"),
    Picture("requests-dark", "/ui/requests", "dark"),
    Picture("clients-light", "/ui/clients", "light"),
    Picture("setup-dark", "/ui/setup", "dark"),
    Picture("phone-light", "/", "light", phone=True),
    Picture("phone-dark", "/ui/images?sort=size", "dark", phone=True),
)


def main() -> None:
    """Take all of them, or those that are named."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__)
    parser.add_argument("--into", type=Path, default=IMAGES, help="the folder for the files")
    parser.add_argument("only", nargs="*", help=", ".join(one.name for one in PICTURES))
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    wanted = [one for one in PICTURES if not given.only or one.name in given.only]
    with (
        tempfile.TemporaryDirectory(prefix="page-") as folder,
        stage(Path(folder)) as staged,
        _life(staged),
        chromium() as browser,
    ):
        for picture in wanted:
            size = PHONE if picture.phone else _DESKTOP
            base = f"http://127.0.0.1:{staged.admin_port}"
            with watched(browser, base, size=size, scheme=picture.scheme) as seen:
                _take(picture, seen, given.into / f"{picture.name}.png")


def _take(picture: Picture, seen: Watched, file: Path) -> None:
    if picture.path.startswith("/ui/images"):
        seen.sign_in(TOKEN)
    seen.open(picture.path)
    if picture.path.startswith("/?") or picture.path == "/":
        seen.page.locator("canvas").first.wait_for()
        seen.page.locator("#part-downloads li").first.wait_for()
    seen.page.evaluate("document.fonts.ready")
    seen.page.screenshot(path=file)
    if (size := file.stat().st_size) > LARGEST:
        raise SystemExit(f"{file}: {size} bytes, want {LARGEST} at most")
    print(f"{file}: {size // 1024} KiB")  # noqa: T201 it is what one waits for


@contextlib.contextmanager
def _life(staged: Stage) -> Iterator[None]:
    """Something goes on: layers come slowly, a registry fails, a client does not trust the CA."""
    staged.ask_registries()
    with contextlib.suppress(ssl.SSLError):
        staged.proxy.stranger().certificate(HUB)
    gates = [
        staged.fetch(GHCR, "acme/storefront", 128, 0.61, "127.0.0.11", "127.0.0.12", "127.0.0.14"),
        staged.fetch(GHCR, "acme/storefront", 31, 0.24, "127.0.0.11"),
        staged.fetch(QUAY, "cilium/cilium", 143, 0.35, "127.0.0.40"),
    ]
    over = threading.Event()
    drip = threading.Thread(target=_drip, args=(gates, over))
    drip.start()
    eventually(lambda: "certificate_refused" in staged.proxy.log, what="a refusal")
    try:
        yield
    finally:
        over.set()
        drip.join()


def _drip(gates: list[Gate], over: threading.Event) -> None:
    while not over.wait(0.25):
        for number, gate in enumerate(gates):
            gate.allow(_EACH_SECOND * (3 - number) // 6)


if __name__ == "__main__":
    main()
