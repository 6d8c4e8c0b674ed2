"""The token: made once, kept for the proxy's own user, compared whole."""

from pathlib import Path

import pytest

from entrepot.admin.access.admin_token import FILE_NAME, AdminToken


def test_one_is_made_and_kept(tmp_path: Path) -> None:
    """The same after a restart, and nobody else can read it."""
    AdminToken(None, tmp_path).prepare()
    file = tmp_path / FILE_NAME
    assert file.stat().st_mode & 0o777 == 0o600
    token = AdminToken(None, tmp_path)
    token.prepare()
    assert token.is_shown(file.read_text())
    assert not token.is_shown(file.read_text().strip()[:-1])


def test_nothing_is_the_token_before_it_is_prepared(tmp_path: Path) -> None:
    """An empty text opens nothing."""
    assert not AdminToken(None, tmp_path).is_shown("")


def test_it_may_be_said(tmp_path: Path) -> None:
    """By the option itself, or by a file that it names; then none is made."""
    said = AdminToken("sixteen-letters-x", tmp_path)
    said.prepare()
    assert said.is_shown("sixteen-letters-x")
    file = tmp_path / "secret"
    file.write_text("another-of-sixteen\n")
    in_file = AdminToken(f"@{file}", tmp_path)
    in_file.prepare()
    assert in_file.is_shown("another-of-sixteen")
    assert not (tmp_path / FILE_NAME).exists()


@pytest.mark.parametrize("text", ["", "short", "x" * 300, "sixteen letters \0 and more"])
def test_a_file_without_a_usable_token_is_refused(tmp_path: Path, text: str) -> None:
    """Rather than a page that anybody could change things on."""
    file = tmp_path / "secret"
    file.write_text(text)
    with pytest.raises(ValueError, match="expected a token of 16 to 200 characters"):
        AdminToken(f"@{file}", tmp_path).prepare()
