"""Documents on standard output, for programs: as JSON, or as YAML of the same members."""

import json
import sys


def print_document(document: object, form: str) -> None:
    """Print one; ``form`` is "json" or "yaml"."""
    if form == "yaml":
        from ruamel.yaml import YAML  # noqa: PLC0415 seldom asked for

        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        yaml.dump(document, sys.stdout)
    else:
        print(json.dumps(document, indent=2))


def print_line(document: object, form: str) -> None:
    """Print one of many that come one after the other: a line of JSON each, or a YAML document."""
    if form == "yaml":
        print("---")
        print_document(document, form)
    else:
        print(json.dumps(document), flush=True)
