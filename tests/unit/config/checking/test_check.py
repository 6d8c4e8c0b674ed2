"""All that is wrong with a configuration, with its place, and who says each setting in force."""

from pathlib import Path

import pytest

from entrepot.config.checking.check import COMMAND_LINE, DEFAULT, Checked, Problem, check_config
from entrepot.config.load import Given


def checked(toml: str | None = None, given: Given | None = None, **environ: str) -> Checked:
    words = dict(given or {})
    if toml is not None:
        words["config"] = toml
    return check_config(words, environ, Path("/home/me"), root=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "entrepot.toml"


def test_every_problem_is_found_with_its_line(file: Path) -> None:
    """In the order of the file, those of the command line before."""
    file.write_text(
        '# ours\nlisten = "3128"\nsizee = "1GiB"\n\nmirror = [":5000", "x"]\n'
        '[registry."ghcr.io"]\nusername = "x"\npassword_file = "/missing"\n'
    )
    found = checked(str(file), {"idle": "soon"})
    assert found.config is None
    assert [(one.where, one.line) for one in found.problems] == [
        (COMMAND_LINE, None),
        (str(file), 2),
        (str(file), 3),
        (str(file), 5),
        (str(file), 6),
    ]
    reasons = [one.reason for one in found.problems]
    for reason, said in zip(
        reasons,
        ("idle: ", "did you mean ':3128'?", "did you mean 'size'?", "mirror: ", "'ghcr.io': "),
        strict=True,
    ):
        assert said in reason


@pytest.mark.parametrize(
    ("toml", "line", "said"),
    [
        ('size = "1GiB"\nidle = \n', 2, "nvalid value"),
        ('size = "1GiB"\nsize = "2GiB"\n', 2, "overwrite"),
    ],
)
def test_a_fault_of_the_syntax_has_its_line(file: Path, toml: str, line: int, said: str) -> None:
    file.write_text(toml)
    (problem,) = checked(str(file)).problems
    assert (problem.where, problem.line) == (str(file), line)
    assert said in problem.reason


def test_a_file_that_cannot_be_read() -> None:
    assert checked("/missing.toml").problems == [
        Problem("/missing.toml", None, "cannot be read: No such file or directory")
    ]


def test_what_only_all_settings_together_have() -> None:
    (problem,) = checked(given={"transparent": ":3128"}).problems
    assert problem == Problem(
        "the settings", None, "listen and transparent are both :3128, want two ports"
    )


def test_who_says_what_is_in_force(file: Path) -> None:
    """By the precedence of the loading: options, ENTREPOT_DATA, the file, others' variables."""
    file.write_text('size = "2GiB"\ndata = "/file"\nidle = "1min"\noffline = true\n')
    found = checked(
        str(file),
        {"idle": "90s", "proxyauth": "joe:secret"},
        ENTREPOT_DATA="/env",
        HTTPS_PROXY="http://joe:secret@proxy:3128",
        no_proxy="a.example,.b.example",
    )
    assert found.problems == []
    said = {one.name: (one.value, one.origin, one.line) for one in found.settings}
    assert said["size"] == ("2.0GiB", str(file), 1)
    assert said["data"] == ("/env", "ENTREPOT_DATA", None)
    assert said["idle"] == ("90s", COMMAND_LINE, None)
    assert said["offline"] == ("yes", str(file), 4)
    assert said["drain"] == ("10s", DEFAULT, None)
    assert said["scrub"] == ("30d", DEFAULT, None)
    assert said["upstream_proxy"] == ("http://proxy:3128", "HTTPS_PROXY", None)
    assert said["no_proxy"] == ("a.example, .b.example", "no_proxy", None)
    assert "secret" not in str(found.settings)


def test_the_command_line_says_more_than_the_environment() -> None:
    found = checked(given={"data": "/given"}, ENTREPOT_DATA="/env")
    (data,) = (one for one in found.settings if one.name == "data")
    assert (data.value, data.origin) == ("/given", COMMAND_LINE)


def test_registries_of_tables_are_of_the_tables(file: Path) -> None:
    file.write_text('[registry."ghcr.io"]\nusername = "x"\npassword_env = "OF_GHCR"\n')
    found = checked(str(file), OF_GHCR="x")
    (registry,) = (one for one in found.settings if one.name == "registry")
    assert (registry.value, registry.origin) == ("ghcr.io", "the registry tables")
