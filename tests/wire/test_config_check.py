"""`entrepot config check`: before a restart, what it would stumble over, and what would hold."""

from pathlib import Path

from rig.entrepot_command import document, entrepot


def test_a_configuration_without_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "entrepot.toml"
    file.write_text('size = "10GiB"\ndata = "data"\n')
    words = ("config", "check", "--config", file, "--idle", "90s")
    told = document(tmp_path, "config-check", *words)
    assert told["problems"] == []
    said = {one["name"]: one["origin"] for one in told["settings"]}
    assert said["size"] == str(file)
    assert said["idle"] == "the command line"
    finished = entrepot(tmp_path, *words)
    assert finished.returncode == 0
    assert f"{file}:1" in finished.stdout
    assert finished.stdout.endswith("no problem\n")
    assert list(tmp_path.iterdir()) == [file]


def test_problems_are_said_one_a_line_and_end_with_1(tmp_path: Path) -> None:
    """Those that only the files show which the settings name, too."""
    file = tmp_path / "entrepot.toml"
    file.write_text('sizee = "10GiB"\nlisten = "here"\n')
    told = document(tmp_path, "config-check", "config", "check", "--config", file, code=1)
    assert [one["line"] for one in told["problems"]] == [1, 2]
    assert told["settings"] == []
    finished = entrepot(tmp_path, "config", "check", "--config", file)
    assert finished.returncode == 1
    assert finished.stdout.splitlines()[0].startswith(f"{file}:1: unknown option 'sizee'")
    assert finished.stdout.endswith("2 problems\n")
    words = ["--upstream-ca", "missing.pem", "--docker-config", "missing.json"]
    words += (
        "--proxyauth",
        "@missing.htpasswd",
        "--mirror",
        "127.0.0.1:5000=http://127.0.0.1:5000",
    )
    beyond = entrepot(tmp_path, "config", "check", "--data", file, *words)
    assert beyond.returncode == 1
    for said in (
        "missing.pem",
        "missing.json",
        "there is no file missing.htpasswd",
        "its registry http://127.0.0.1:5000 is this proxy itself",
        "is no folder",
    ):
        assert said in beyond.stdout
