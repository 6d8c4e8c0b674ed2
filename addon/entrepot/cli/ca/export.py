"""``entrepot ca export``: the certificates that clients are to trust, never a key."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from entrepot.app.start_error import StartError
from entrepot.cli.ca.standing import standing
from entrepot.cli.frame.definition import FOLDER, command
from entrepot.config.settings import Config


@command(
    settings=FOLDER,
    details="pem is what /ca.pem gives: both certificates while the authority is being replaced."
    " p7b (PKCS #7, for Windows) has both as well; der has one.",
    examples=(
        ("entrepot ca export -o entrepot.pem", "for clients that cannot ask the proxy"),
        ("entrepot ca export --format der --successor -o next.cer", "the one that will sign"),
    ),
)
def export(
    config: Config,
    *,
    kind: Annotated[Literal["pem", "der", "p7b"], typer.Option("--format", help="which file")] = (
        "pem"
    ),
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="where; else stdout")
    ] = None,
    successor: Annotated[
        bool, typer.Option("--successor", help="with --format der: the one that is announced")
    ] = False,
) -> None:
    """Write them. Raises ``AuthorityError``, and ``StartError`` for what there is not."""
    stands = standing(config.data)
    rotation = stands.rotation
    if successor and (kind != "der" or rotation is None or rotation.switched):
        raise StartError("--successor is for --format der while a successor is announced")
    chosen = rotation.successor if successor and rotation is not None else stands.authority
    if kind == "pem":
        content = stands.announcement
    elif kind == "der":
        content = chosen.certificate_der
    else:
        content = stands.pkcs7
    if output is not None:
        _write(output, content)
    elif kind != "pem" and sys.stdout.isatty():
        raise StartError(f"--format {kind} is binary: give -o FILE, or redirect the output")
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def _write(file: Path, content: bytes) -> None:
    """Write what anybody may read, whatever the umask."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as written:
        os.fchmod(descriptor, 0o644)
        written.write(content)
