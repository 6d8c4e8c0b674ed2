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
