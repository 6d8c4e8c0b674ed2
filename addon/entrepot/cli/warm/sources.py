"""Where the names of images are read from: files of several kinds, standard input, kubectl."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from entrepot.app.start_error import StartError
from entrepot.cli.warm import dockerfile, manifests
from entrepot.config.yaml_documents import MOST_BYTES, read_documents

_NAME = re.compile(r"(?:https?://)?\[?[A-Za-z0-9][\w./:@\[\]-]*[\w]", re.ASCII)
_KUBECTL = ("get", "pods", "--all-namespaces", "--output", "json")
_KUBECTL_SECONDS = 120


def images_from(source: str, environment: Mapping[str, str]) -> list[str]:
    """The images that a file names, `-` for standard input. Raises ``StartError``."""
    try:
        text = sys.stdin.read(MOST_BYTES) if source == "-" else _read(Path(source))
        if source != "-":
            environment = {**_dotenv(Path(source).parent / ".env"), **environment}
        return list(dict.fromkeys(_images_in(text, source, environment)))
    except UnicodeDecodeError:
        raise StartError(f"{source}: it is no text") from None
    except ValueError as error:
        raise StartError(f"{source}: {error}") from None


def images_of_kubectl(context: str | None) -> list[str]:
    """The images that the pods of a cluster run, asked by kubectl. Raises ``StartError``."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise StartError("there is no kubectl in PATH; or pipe what it gives to: --from -")
    where = ("--context", context) if context else ()
    try:
        finished = subprocess.run(  # noqa: S603 the user's own kubectl
            [kubectl, *where, *_KUBECTL],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_KUBECTL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StartError(f"kubectl gave no answer in {_KUBECTL_SECONDS} s") from None
    if finished.returncode:
        lines = finished.stderr.strip().splitlines() or ["no reason"]
        raise StartError(f"kubectl: {lines[-1]}")
    return list(dict.fromkeys(manifests.of_kubernetes(_first(finished.stdout))))


def _first(text: str) -> object:
    try:
        return next(iter(read_documents(text)), None)
    except ValueError as error:
        raise StartError(f"kubectl: {error}") from None


def _read(file: Path) -> str:
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"expected at most {MOST_BYTES} bytes")
    return file.read_text(encoding="utf-8")


def _dotenv(file: Path) -> dict[str, str]:
    """The variables that lie beside a compose file, which the environment's own go before."""
    if not file.is_file():
        return {}
    pairs = (line.partition("=") for line in _read(file).splitlines())
    return {
        name.strip().removeprefix("export "): value.strip().strip("\"'")
        for name, equals, value in pairs
        if equals and not name.lstrip().startswith("#")
    }


def _images_in(text: str, source: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Read by what it looks like: a Dockerfile, YAML or JSON of either kind, or a list."""
    name = Path(source).name.lower()
    if name.startswith("dockerfile") or name.endswith(".dockerfile") or name == "containerfile":
        yield from dockerfile.images_in(text)
        return
    if _is_list(text):
        yield from _listed(text)
        return
    if dockerfile.is_dockerfile(text):
        yield from dockerfile.images_in(text)
        return
    documents = [one for one in read_documents(text) if one is not None]
    for one in documents:
        if manifests.is_compose(one):
            yield from manifests.of_compose(one, environment)
        elif manifests.is_kubernetes(one):
            yield from manifests.of_kubernetes(one)
        elif isinstance(one, list) and all(isinstance(name, str) for name in one):
            yield from one
        else:
            raise ValueError(
                "expected a compose file, Kubernetes objects, a Dockerfile, or an image a line"
            )


def _is_list(text: str) -> bool:
    """Whether each line is one word that can be an image's name."""
    lines = list(_listed(text))
    return bool(lines) and all(_NAME.fullmatch(line) for line in lines)


def _listed(text: str) -> Iterator[str]:
    for line in text.splitlines():
        name = line.partition(" #")[0].strip()
        if name and not name.startswith("#"):
            yield name
