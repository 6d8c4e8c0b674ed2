"""Credential helpers, as real programs: what they are asked, and how they go wrong."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from entrepot.auth import credential_helper
from entrepot.auth.credential_helper import (
    KEPT_SECONDS,
    REST_SECONDS,
    CredentialHelper,
    HelperError,
    ask,
)
from entrepot.events.log import Events
from entrepot.protocol.account import Login, LoginKind
from rig.process import eventually

PROGRAM, SERVER = "docker-credential-test", "https://index.docker.io/v1/"
Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Make a shell script the helper `test`; `$DIR` is its folder."""

    def write(script: str) -> None:
        file = tmp_path / PROGRAM
        file.write_text(f"#!/bin/sh\nDIR={tmp_path}\n{script}\n")
        file.chmod(0o700)

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return write


def printing(username: object, secret: object) -> str:
    document = json.dumps({"ServerURL": SERVER, "Username": username, "Secret": secret})
    return f"cat >/dev/null; echo '{document}'"


class Asked:
    """A helper with a clock of the test's own."""

    def __init__(self) -> None:
        self.now = 1e6
        self.events = Events()
        self.helper = CredentialHelper("test", SERVER, self.events, lambda: self.now)

    def __call__(self, refused: Login | None = None) -> Login | None:
        return self.helper(refused)


def test_a_helper_is_asked_as_docker_asks(install: Install, tmp_path: Path) -> None:
    """By `get`, with the server's name as its input."""
    install('echo "$@" >$DIR/arguments; cat >$DIR/input\n' + printing("alice", "wonder:land"))
    assert ask(PROGRAM, SERVER) == Login("alice", "wonder:land")
    assert (tmp_path / "arguments").read_text() == "get\n"
    assert (tmp_path / "input").read_text() == SERVER + "\n"


def test_an_identity_token_is_told_from_a_password(install: Install) -> None:
    """The user name `<token>` says so."""
    install(printing("<token>", "identity"))
    assert ask(PROGRAM, SERVER) == Login("<token>", "identity", LoginKind.IDENTITY)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo secret-word; exit 1", "it ended with status 1"),
        ("echo secret-word >&2; kill -9 $$", "it ended with status -9"),
        ("echo secret-word", "it printed no login"),
        (":", "it printed no login"),
        ("echo '[\"secret-word\"]'", "it printed no login"),
        ("echo null", "it printed no login"),
        (printing("alice", ""), "it printed no login"),
        (printing("alice", 7), "it printed no login"),
        (printing(None, "secret-word"), "it printed no login"),
        (printing("a:b", "secret-word"), "a user name with a colon"),
        ("while :; do echo secret-word; done", "it printed too much"),
        ("echo secret-word; exec sleep 100", "it did not end within 0.3 s"),
        ("sleep 100 & exec >&-; exec sleep 100", "it did not end within 0.3 s"),
        ("sleep 100 &", "it did not end within 0.3 s"),  # which holds the output open
    ],
)
def test_a_helper_that_goes_wrong_is_one_line(install: Install, script: str, said: str) -> None:
    """Failing, printing junk, too much or nothing, hanging: never what it said."""
    install(script)
    with pytest.raises(HelperError) as raised:
        ask(PROGRAM, SERVER, 0.3)
    assert said in str(raised.value)
    assert "secret-word" not in str(raised.value)


def test_what_a_helper_started_ends_with_it(install: Install, tmp_path: Path) -> None:
    """Nothing of a helper that hangs goes on."""
    install("sleep 100 & echo $! >$DIR/child; wait")
    with pytest.raises(HelperError):
        ask(PROGRAM, SERVER, 0.5)
    child = Path("/proc", (tmp_path / "child").read_text().strip(), "stat")

    def has_ended() -> bool:
        try:
            return child.read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    eventually(has_ended, what="the end of the child")  # it was killed, and is dying


def test_a_missing_helper_and_one_that_cannot_run_are_told(
    install: Install, tmp_path: Path
) -> None:
    """Nothing of that name, or a file that is no program."""
    with pytest.raises(HelperError, match="there is no such program"):
        ask(PROGRAM, SERVER)
    install("")
    (tmp_path / PROGRAM).write_bytes(b"\x7fELF nonsense")
    with pytest.raises(HelperError, match="it cannot be run: Exec format error"):
        ask(PROGRAM, SERVER)


@pytest.mark.parametrize(
    "name", ["", "../x", "a/b", "-x", ".x", "a b", "a;b", "x\n", "é", "x" * 65]
)
def test_a_helpers_name_leads_nowhere_else(name: str) -> None:
    """It becomes part of a program's name."""
    with pytest.raises(ValueError, match="expected the name of a credential helper"):
        CredentialHelper(name, SERVER, Events(), lambda: 0.0)


def test_a_login_is_kept_for_a_while(install: Install, tmp_path: Path) -> None:
    """A pull asks often; the helper is asked again after half an hour."""
    install(f"echo x >>$DIR/count; {printing('alice', 'one')}")
    asked = Asked()
    for seconds in (0, 1, KEPT_SECONDS - 2, 1):
        asked.now += seconds
        assert asked() == Login("alice", "one")
    assert (tmp_path / "count").read_text() == "x\n" * 2


def test_a_refused_login_is_asked_for_again(install: Install, tmp_path: Path) -> None:
    """Those of ECR end after twelve hours; one that is fresh and refused is simply wrong."""
    install(f"echo x >>$DIR/count; {printing('AWS', 'one')}")
    asked = Asked()
    one = asked()
    install(f"echo x >>$DIR/count; {printing('AWS', 'two')}")
    assert asked(refused=one) == one
    asked.now += REST_SECONDS
    assert asked(refused=one) == Login("AWS", "two")
    assert asked(refused=one) == Login("AWS", "two")
    assert (tmp_path / "count").read_text() == "x\n" * 2


def test_a_failing_helper_rests_and_is_told_in_one_line(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each try costs up to ten seconds: one a minute, and what it said before still counts."""
    install("echo x >>$DIR/count; exit 3")
    asked = Asked()
    assert [asked(), asked()] == [None, None]
    (line,) = caplog.messages
    assert line.startswith(f"credential_helper_failed helper={PROGRAM} registry={SERVER} ")
    assert line.endswith('reason="it ended with status 3"')
    install(printing("alice", "one"))
    asked.now += REST_SECONDS
    assert asked() == Login("alice", "one")
    install("exit 3")
    asked.now += KEPT_SECONDS
    assert asked() == Login("alice", "one")
    assert (tmp_path / "count").read_text() == "x\n"


def test_ten_seconds_are_given() -> None:
    """As the documentation says."""
    assert credential_helper.DEADLINE_SECONDS == 10
