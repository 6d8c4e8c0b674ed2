"""The data folder: one process at a time, one format, the owner's alone."""

from contextlib import closing, suppress
from pathlib import Path

import pytest

from entrepot.storage.errors import StoreError
from entrepot.storage.store import Store
from rig.disk import small_disk
from rig.needs import need_root
from unit.storage.world import APP, LIMIT, deliver, value_files


def test_a_folder_is_one_stores_at_a_time(folder: Path) -> None:
    """A second one is refused as long as the first is open."""
    message = r"data.*another entrepot is using it"
    with closing(Store(folder, LIMIT)), pytest.raises(StoreError, match=message):
        Store(folder, LIMIT)
    Store(folder, LIMIT).close()


def test_a_newer_format_is_refused_and_left_alone(folder: Path) -> None:
    """A downgrade does not destroy what it cannot read."""
    with closing(Store(folder, LIMIT)) as store:
        deliver(store, APP)
    (folder / "format").write_text("2\n")
    with pytest.raises(StoreError, match="a newer version of entrepot wrote it: its format is 2"):
        Store(folder, LIMIT)
    assert len(value_files(folder)) == 1


def test_a_format_that_is_no_number_is_refused(folder: Path) -> None:
    """A folder of something else is not called a newer one's."""
    folder.mkdir()
    (folder / "format").write_text("tar\n")
    with pytest.raises(StoreError, match="its format is 'tar', this version reads '1'"):
        Store(folder, LIMIT)


def test_a_disk_that_was_full_at_the_first_start_spoils_nothing(tmp_path: Path) -> None:
    """The folder that could not be made is made once there is room."""
    need_root()
    with small_disk(tmp_path / "disk", 4 * 1024**2) as disk:
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        with pytest.raises(StoreError, match="the disk is full"):
            Store(disk / "data", LIMIT)
        filler.unlink()
        Store(disk / "data", LIMIT).close()


def test_a_refused_start_lets_go_of_the_folder(folder: Path) -> None:
    """The lock of a store that did not open is not held on."""
    Store(folder, LIMIT).close()
    (folder / "format").write_text("2\n")
    with pytest.raises(StoreError):
        Store(folder, LIMIT)
    (folder / "format").write_text("1\n")
    Store(folder, LIMIT).close()


def test_the_folder_is_the_owners_alone(folder: Path) -> None:
    """Nobody else may enter, not even where the folder was there before."""
    folder.mkdir(mode=0o755)
    Store(folder, LIMIT).close()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_an_error_of_one_line(tmp_path: Path) -> None:
    """A file in the place of the folder is named in the error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        Store(tmp_path / "file" / "data", LIMIT)
