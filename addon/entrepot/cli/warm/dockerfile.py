"""The images that a build of a Dockerfile pulls.

`FROM`, `COPY --from` and `RUN --mount=from=` name images or stages; `ARG` before the first `FROM`
has defaults for what `FROM` says; `# syntax=` names BuildKit's frontend.
Source: https://docs.docker.com/reference/dockerfile/
"""

import re
import shlex
from collections.abc import Iterator, Mapping

from entrepot.cli.warm.substitution import substituted

_DIRECTIVE = re.compile(r"#\s*(syntax|escape|check)\s*=\s*(\S+)", re.IGNORECASE)
_FROM_OPTION = re.compile(r"--from=(\S+)")
_MOUNT_FROM = re.compile(r"--mount=(?:\S*,)?from=([^,\s]+)")
_SCRATCH = "scratch"


def is_dockerfile(text: str) -> bool:
    """Whether the first instruction is one that a Dockerfile begins with."""
    first = next(_instructions(text, "\\"), "")
    return re.match(r"(?:FROM|ARG)\s+\S", first, re.IGNORECASE) is not None


def images_in(text: str) -> Iterator[str]:
    """The images, in their order. Raises ValueError where an argument has no value."""
    escape = "\\"
    for line in text.splitlines():
        directive = _DIRECTIVE.match(line.strip())
        if directive is None:
            break
        if directive[1].lower() == "syntax":
            yield directive[2]
        if directive[1].lower() == "escape":
            escape = directive[2]
    yield from _named(_instructions(text, escape))


def _named(instructions: Iterator[str]) -> Iterator[str]:
    arguments: dict[str, str] = {}
    stages: set[str] = set()
    for instruction in instructions:
        word, _, rest = instruction.partition(" ")
        match word.upper():
            case "ARG" if not stages:
                for one in shlex.split(rest):
                    name, equals, value = one.partition("=")
                    if equals:
                        arguments[name] = substituted(value, arguments)
            case "FROM":
                yield from _of_from(rest.split(), arguments, stages)
            case "COPY" | "ADD" if found := _FROM_OPTION.search(rest):
                yield from _of_stage(found[1], stages)
            case "RUN":
                for found in _MOUNT_FROM.finditer(rest):
                    yield from _of_stage(found[1], stages)


def _of_from(words: list[str], arguments: Mapping[str, str], stages: set[str]) -> Iterator[str]:
    words = [word for word in words if not word.startswith("--")]
    if not words:
        return
    image = substituted(_unquoted(words[0]), arguments)
    if image != _SCRATCH and image.lower() not in stages:
        yield image
    stages.add(str(len([one for one in stages if one.isdigit()])))
    if len(words) == 3 and words[1].upper() == "AS":
        stages.add(words[2].lower())


def _of_stage(name: str, stages: set[str]) -> Iterator[str]:
    """What is copied from: a stage by name or number, or else an image."""
    if name.lower() not in stages and not name.isdigit() and "$" not in name:
        yield _unquoted(name)


def _instructions(text: str, escape: str) -> Iterator[str]:
    """Whole instructions: comments left out, lines that go on put together."""
    whole = ""
    for line in text.splitlines():
        part = line.strip()
        if part.startswith("#") or not part:
            continue
        if part.endswith(escape):
            whole += part[: -len(escape)] + " "
            continue
        yield re.sub(r"\s+", " ", whole + part)
        whole = ""
    if whole.strip():
        yield whole.strip()


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
