"""The members of a request, each checked as it is read. Raises ValueError, which is an answer."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from entrepot.protocol.image_names import ImageName
from entrepot.storage.inventory.images import SortBy

Members: TypeAlias = Mapping[str, object]

MOST_NAMES = 1000
_LONGEST = 365 * 86400 * 100


def text(request: Members, name: str, otherwise: str | None = None) -> str:
    """A text of at most 1000 characters."""
    found = request.get(name, otherwise)
    if not isinstance(found, str) or len(found) > 1000:
        raise ValueError(f"expected {name} to be a text")
    return found


def number(request: Members, name: str, otherwise: int, most: int) -> int:
    """A whole number from 0 on."""
    found = request.get(name, otherwise)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= most:
        raise ValueError(f"expected {name} to be a number from 0 to {most}")
    return found


def count(request: Members, name: str) -> int | None:
    """A whole number from 0 on; None where it is not said."""
    return None if request.get(name) is None else number(request, name, 0, 2**53)


def seconds(request: Members, name: str) -> float | None:
    """A duration in seconds; None where it is not said."""
    found = request.get(name)
    if found is None:
        return None
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found <= _LONGEST:
        raise ValueError(f"expected {name} to be a number of seconds")
    return float(found)


def sort(request: Members) -> SortBy:
    """In which order images are listed."""
    found = text(request, "sort", SortBy.NAME.value)
    try:
        return SortBy(found)
    except ValueError:
        raise ValueError(
            f"expected sort to be one of {', '.join(one.value for one in SortBy)}, got {found!r}"
        ) from None


def names(request: Members) -> list[ImageName]:
    """Names of images, at least one."""
    found = request.get("names")
    if not isinstance(found, list) or not 0 < len(found) <= MOST_NAMES:
        raise ValueError(f"expected names to be 1 to {MOST_NAMES} names of images")
    return [ImageName.parse(name if isinstance(name, str) else "") for name in found]


def objects(request: Members, name: str, most: int) -> list[dict[str, Any]]:
    """A list of objects."""
    found = request.get(name)
    if not isinstance(found, list) or len(found) > most:
        raise ValueError(f"expected {name} to be a list of at most {most} objects")
    if not all(isinstance(one, dict) for one in found):
        raise ValueError(f"expected {name} to be a list of objects")
    return found
