"""Data folders that cannot be used: the start is refused by one clear line, and nothing is left."""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from rig.disk import small_disk
from rig.images import MIB
from rig.needs import need_root
from rig.ports import free_port
from rig.process import program
from rig.proxy import PYTHON, Entrepot

pytestmark = pytest.mark.wire


def refused(folder: Path, *prefix: str) -> str:
    """The one line of a start that is refused with status 1."""
    listen = f"127.0.0.1:{free_port()}"
    serve = [PYTHON, "-m", "entrepot.cli", "serve", "--listen", listen, "--data", str(folder)]
    ended = subprocess.run(
        [*prefix, *serve], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, ""), ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"entrepot: data folder {str(folder)!r}: ")
    assert "Errno" not in line
    assert "Error" not in line
    return line


def test_a_full_disk_is_a_clear_refusal(folder: Path) -> None:
    """Without room for its databases the proxy does not start."""
    need_root()
    with small_disk(folder / "disk", MIB) as disk:
        (disk / "filler").write_bytes(bytes(MIB - 3 * 4096))
        assert "the disk is full" in refused(disk / "data")


def test_a_read_only_folder_is_a_clear_refusal(folder: Path) -> None:
    """It names the file that cannot be written and what is wanted instead."""
    need_root()
    with small_disk(folder / "disk", MIB) as disk:
        subprocess.run([program("mount"), "-o", "remount,ro", disk], check=True)
        line = refused(disk / "data")
    assert "the file system is read-only: " in line
    assert line.endswith("want a folder that can be written")


def test_a_folder_of_somebody_else_is_a_clear_refusal(folder: Path) -> None:
    """The same where the permission is missing: root without its powers stands for any user."""
    need_root()
    (folder / "theirs").mkdir(mode=0o500)
    os.chown(folder / "theirs", 12345, 12345)
    powerless = "-dac_override,-dac_read_search,-fowner,-chown"
    line = refused(
        folder / "theirs" / "data", program("setpriv"), f"--bounding-set={powerless}", "--"
    )
    assert "no permission: " in line
    assert line.endswith("want a folder of the user who runs entrepot")


def test_a_folder_of_a_newer_version_is_a_clear_refusal(entrepot: Entrepot) -> None:
    """Nothing in it is touched, and the line says what to do."""
    entrepot.terminate()
    (entrepot.data / "format").write_text("2\n")
    before = {path: path.read_bytes() for path in entrepot.data.rglob("*") if path.is_file()}
    line = refused(entrepot.data)
    assert "its format is 2, this version reads 1" in line
    assert before == {path: path.read_bytes() for path in before}
    (entrepot.data / "format").write_bytes(b"\xff\xfe")
    assert "its format is" in refused(entrepot.data)
    (entrepot.data / "format").write_bytes(b"")  # what a full disk leaves at the first start
    entrepot.start()


def test_a_database_that_another_process_holds_is_a_clear_refusal(entrepot: Entrepot) -> None:
    """It is said within seconds, and the database is not taken for damaged."""
    entrepot.terminate()
    database = entrepot.data / "index" / "cache.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        assert "another process holds the database" in refused(entrepot.data)
    entrepot.start()
    assert "database_damaged" not in entrepot.log
