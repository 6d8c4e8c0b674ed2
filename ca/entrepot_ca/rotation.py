"""A rotation: an authority is replaced by a successor, which clients trust before it signs.

It is announced, it switches at a date, and for a while afterwards the predecessor is still told of.
A chain by which clients of the old root would accept what the new one signs is not to be had: our
roots have a path length of 0. So until the switch the old one signs, and clients that trust both
notice nothing.

- ``mitmproxy-ca.pem`` is the authority that signs: the predecessor, later the successor.
- ``next-ca.pem`` is the successor, until the switch.
- ``previous-ca.pem`` is the predecessor, from the switch on.
- ``rotation.json`` says that a rotation is under way: both certificates, its dates, endorsements.

Each step has one moment in which it counts, so that a kill leaves it undone or done: of the
announcement it is the coming of ``rotation.json``, of the switch the renaming of ``next-ca.pem``,
of an end the going of ``rotation.json``. What else lies there is of a step that a kill undid.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509

from entrepot_ca import pem_file
from entrepot_ca.authority import Authority, load
from entrepot_ca.constraints import Constraints
from entrepot_ca.endorsement import endorse
from entrepot_ca.pem_file import FILE_NAME, AuthorityError
from entrepot_ca.root_certificate import new_key, self_signed

GRACE: Final = timedelta(days=30)
"""How long the predecessor is told of after the switch."""
USUAL: Final = timedelta(days=30)
"""How long the successor is announced before it signs, unless somebody says otherwise."""

STATE_NAME: Final = "rotation.json"
_NEXT: Final = "next-ca.pem"
_PREVIOUS: Final = "previous-ca.pem"


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation that is under way; times are in UTC."""

    predecessor: Authority
    successor: Authority
    announced: datetime
    switch: datetime
    """From when on the successor signs."""
    switched: bool
    successor_endorsed: bytes
    """The predecessor's endorsement of the successor, in DER."""
    predecessor_endorsed: bytes
    """And the other way round."""

    @property
    def in_use(self) -> Authority:
        """The authority that signs."""
        return self.successor if self.switched else self.predecessor

    @property
    def ends(self) -> datetime:
        """From when on the predecessor is not told of any more."""
        return min(self.switch + GRACE, self.predecessor.expires)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read what is under way in `folder`, if anything. Raises AuthorityError."""
        path = folder / STATE_NAME
        try:
            values = _Values(json.loads(path.read_bytes()))
            predecessor, successor = (
                values.certificate("predecessor"),
                values.certificate("successor"),
            )
            announced, switch = values.time("announced"), values.time("switch")
            endorsed = values.der("successor_endorsed"), values.der("predecessor_endorsed")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuthorityError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise AuthorityError(
                f"{path} cannot be understood: `entrepot ca rotate --abort` removes it"
            ) from error
        in_use = pem_file.read(folder / FILE_NAME)
        if in_use not in (predecessor, successor):
            return None  # another authority has been made since
        switched = in_use == successor
        if not switched and pem_file.read(folder / _NEXT) != successor:
            raise AuthorityError(
                f"{folder / _NEXT} is not what was announced: run `entrepot ca rotate --abort`"
            )
        return cls(
            _authority(folder / (_PREVIOUS if switched else FILE_NAME), predecessor),
            _authority(folder / (FILE_NAME if switched else _NEXT), successor),
            announced,
            switch,
            switched,
            *endorsed,
        )

    def _written(self) -> bytes:
        values = {
            "predecessor": self.predecessor.certificate_pem.decode(),
            "successor": self.successor.certificate_pem.decode(),
            "announced": self.announced.isoformat(),
            "switch": self.switch.isoformat(),
            "successor_endorsed": self.successor_endorsed.hex(),
            "predecessor_endorsed": self.predecessor_endorsed.hex(),
        }
        return json.dumps(values, indent=1).encode() + b"\n"


class _Values:
    """What the file says. Each raises ValueError, KeyError or TypeError."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(bytes(self._values[name], "ascii"))

    def time(self, name: str) -> datetime:
        return datetime.fromisoformat(self._values[name]).astimezone(UTC)

    def der(self, name: str) -> bytes:
        return bytes.fromhex(self._values[name])


def announce(
    folder: Path, *, permit: Iterable[str] = (), switch: datetime | None = None, now: datetime
) -> Rotation:
    """Make a successor in `folder` that signs from `switch` on, in 30 days if nobody says when.

    It is limited to the names in `permit`; without any, to what the one in use is limited to.
    Raises AuthorityError, and ValueError for an unusable name or date.
    """
    wanted = Constraints.parse(permit)
    now = now.astimezone(UTC)
    with pem_file.locked(folder) as descriptor:
        predecessor = load(folder, now=now)
        if (under_way := Rotation.read(folder)) is not None:
            raise AuthorityError(_busy(under_way))
        switch = _usual(predecessor, now) if switch is None else _fit(switch, predecessor, now)
        key, old_key = new_key(), pem_file.read_key(predecessor.path)
        old = predecessor.certificate
        new = self_signed(
            key,
            wanted if wanted.permitted else predecessor.constraints,
            now,
            after=old.not_valid_before_utc,
        )
        rotation = Rotation(
            predecessor,
            _authority(folder / _NEXT, new),
            now,
            switch,
            switched=False,
            successor_endorsed=endorse(old, old_key, new, now),
            predecessor_endorsed=endorse(new, key, old, now),
        )
        _remove(folder, _NEXT)  # of an announcement that did not come to be
        pem_file.write(descriptor, rotation.successor.path, key, new)
        pem_file.replace(descriptor, folder / STATE_NAME, rotation._written())  # noqa: SLF001
    return rotation


def move(folder: Path, switch: datetime, *, now: datetime) -> Rotation:
    """Let the rotation under way switch at another time. Raises as `announce`."""
    now = now.astimezone(UTC)
    with pem_file.locked(folder) as descriptor:
        rotation = _check_before_switch(Rotation.read(folder))
        if switch > now:
            _fit(switch, rotation.predecessor, now)
        moved = replace(rotation, switch=switch.astimezone(UTC))
        pem_file.replace(descriptor, folder / STATE_NAME, moved._written())  # noqa: SLF001
    return moved


def abort(folder: Path) -> Rotation | None:
    """Undo an announcement: the successor is gone with its key; gives what was under way.

    Raises AuthorityError where there is nothing to undo.
    """
    with pem_file.locked(folder) as descriptor:
        try:
            rotation = Rotation.read(folder)
        except AuthorityError:
            rotation = None  # what cannot be read is what this is for
        else:
            _check_before_switch(rotation)
        _remove(folder, STATE_NAME)
        os.fsync(descriptor)
        _remove(folder, _NEXT)
    return rotation


def advance(folder: Path, now: datetime) -> Rotation | None:
    """Do what is due: the switch, or the end; what is under way then.

    Raises AuthorityError and OSError.
    """
    if not (folder / STATE_NAME).exists():
        return None
    with pem_file.locked(folder) as descriptor:
        rotation = Rotation.read(folder)
        if rotation is not None and not rotation.switched and now >= rotation.switch:
            _remove(folder, _PREVIOUS)
            (folder / _PREVIOUS).hardlink_to(folder / FILE_NAME)
            (folder / _NEXT).rename(folder / FILE_NAME)
            os.fsync(descriptor)
            rotation = Rotation.read(folder)
        if rotation is not None and not (rotation.switched and now >= rotation.ends):
            return rotation
        if rotation is not None:
            _keep_key(folder, rotation.switch)
        _remove(folder, STATE_NAME)
        os.fsync(descriptor)
        _remove(folder, _NEXT)
    return None


def _keep_key(folder: Path, switch: datetime) -> None:
    """Keep the predecessor as `create` with ``force`` does: nothing of it is used any more."""
    if (folder / _PREVIOUS).exists():
        old = f"{FILE_NAME}.{switch:%Y%m%dT%H%M%SZ}.old"
        (folder / _PREVIOUS).rename(folder / old)


def _check_before_switch(rotation: Rotation | None) -> Rotation:
    if rotation is None:
        raise AuthorityError("no rotation is under way: `entrepot ca rotate` begins one")
    if rotation.switched:
        raise AuthorityError(
            f"the authority was changed on {rotation.switch:%Y-%m-%d} already; "
            "`entrepot ca rotate` replaces it again, once this rotation has ended"
        )
    return rotation


def _busy(under_way: Rotation) -> str:
    if under_way.switched:
        return (
            f"the authority was changed on {under_way.switch:%Y-%m-%d}; the next rotation can "
            f"begin when this one has ended, on {under_way.ends:%Y-%m-%d}"
        )
    return (
        f"a rotation is under way, the successor signs from {under_way.switch:%Y-%m-%d %H:%M} UTC "
        "on: --until or --in moves that date, --now does it at once, --abort undoes it"
    )


def _usual(predecessor: Authority, now: datetime) -> datetime:
    """As long as usual, or until a day before the authority in use ends."""
    return _fit(min(now + USUAL, predecessor.expires - timedelta(days=1)), predecessor, now)


def _fit(switch: datetime, predecessor: Authority, now: datetime) -> datetime:
    switch = switch.astimezone(UTC)
    if not now < switch < predecessor.expires:
        raise ValueError(
            f"the date must be after now and before {predecessor.expires:%Y-%m-%d %H:%M} UTC, when "
            f"the authority in use expires; got {switch:%Y-%m-%d %H:%M} UTC"
        )
    return switch


def _authority(path: Path, certificate: x509.Certificate) -> Authority:
    return Authority(path, certificate, Constraints.of(certificate))


def _remove(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
