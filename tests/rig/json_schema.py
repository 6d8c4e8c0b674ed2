"""What is wrong with a document by a JSON Schema, of the keywords that ours use.

Stricter than the specification: a field that the schema does not name is wrong too.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_KNOWN = {
    "$schema",
    "title",
    "description",
    "type",
    "enum",
    "items",
    "properties",
    "required",
    "additionalProperties",
}


def problems(document: Any, schema: Mapping[str, Any], at: str = "$") -> Iterator[str]:
    """Say what does not fit, each with its place."""
    unknown = schema.keys() - _KNOWN
    if unknown:
        yield f"{at}: the schema uses {unknown}, which is not looked at here"
    if "enum" in schema and document not in schema["enum"]:
        yield f"{at}: got {document!r}, want one of {schema['enum']}"
    wanted = schema.get("type", list(_TYPES))
    names = [wanted] if isinstance(wanted, str) else wanted
    types = {one for name in names for one in _TYPES[name]}
    if type(document) not in types:  # True is an int to isinstance, and none to JSON
        yield f"{at}: got {document!r}, want {names}"
    if isinstance(document, list):
        for number, one in enumerate(document):
            yield from problems(one, schema["items"], f"{at}[{number}]")
    if isinstance(document, dict):
        yield from _of_object(document, schema, at)


def _of_object(document: dict[str, Any], schema: Mapping[str, Any], at: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in document:
            yield f"{at}: no {name!r}"
    others = schema.get("additionalProperties")
    for name, value in document.items():
        inner = schema.get("properties", {}).get(name, others)
        if inner is None:
            yield f"{at}: the schema does not tell of {name!r}"
        else:
            yield from problems(value, inner, f"{at}.{name}")
