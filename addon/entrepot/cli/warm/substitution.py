"""Variables in texts, as compose files and Dockerfiles have them: `$NAME`, `${NAME:-default}`.

Source: https://docs.docker.com/reference/compose-file/interpolation/
"""

import re
from collections.abc import Mapping

_VARIABLE = re.compile(
    r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)"
    r"|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-+?])([^{}$]*(?:\$\{[^{}]*\}[^{}$]*)*))?\})"
)


def substituted(text: str, values: Mapping[str, str]) -> str:
    """Replace the variables; ValueError where one has no value and no default."""

    def replaced(found: re.Match[str]) -> str:
        dollar, bare, braced, operator, word = found.groups()
        if dollar:
            return "$"
        value = values.get(bare or braced)
        sign = operator or ""
        if value is not None and not (value == "" and sign.startswith(":")):
            return substituted(word, values) if sign.endswith("+") else value
        if sign.endswith("-"):
            return substituted(word, values)
        if sign.endswith("+"):
            return ""
        raise ValueError(f"{text!r}: {bare or braced} is not set, and there is no default")

    return _VARIABLE.sub(replaced, text)
