"""Where a key or a table stands in a TOML file."""

from entrepot.config.checking.toml_lines import line_of_fault, line_of_key, line_of_table

TEXT = """\
# size = "no key"
size="1GiB"
  "idle" = "1min"
[registry."docker.io"]
drain = "of a table"
[ registry . 'ghcr.io' ]
"""


def test_keys_of_the_file_itself() -> None:
    found = [line_of_key(TEXT, key) for key in ("size", "idle", "drain", "siz")]
    assert found == [2, 3, None, None]


def test_tables() -> None:
    found = [line_of_table(TEXT, "registry", key) for key in ("docker.io", "ghcr.io", "quay.io")]
    assert found == [4, 6, None]


def test_faults() -> None:
    assert line_of_fault("Invalid value (at line 12, column 8)") == 12
    assert line_of_fault("something else") is None
