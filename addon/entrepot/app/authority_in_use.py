"""The authority in use, and what clients are given to trust: renewed while the proxy runs.

The folder says what is so (``entrepot_ca``): ``entrepot ca rotate`` writes it, and whoever looks
does what is due. Here that is taken up, told to who signs, and logged.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.upstream.discovery.authority_clients import AuthorityClients
from entrepot.upstream.discovery.tls_fingerprint import Fingerprint
from entrepot_ca import Authority, AuthorityError, Rotation, advance, announcement, pkcs7

_MOST_NAMED = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with the authority: which one signs, and the rotation that is under way."""

    authority: Authority
    rotation: Rotation | None

    @property
    def announcement(self) -> bytes:
        """What clients are given to trust, in PEM."""
        return announcement(self.authority, self.rotation)

    @property
    def pkcs7(self) -> bytes:
        """The same as PKCS #7, in DER."""
        return pkcs7(self.authority, self.rotation)

    def waiting(self, clients: AuthorityClients, now: float) -> tuple[list[dict[str, str]], int]:
        """Which clients may not be ready for the successor, of how many that were seen lately."""
        if self.rotation is None:
            return [], 0
        waiting, lately = clients.waiting(self.rotation.announced.timestamp(), now)
        return [{"client": one.address, "seen": _time(one.seen)} for one in waiting], lately

    def described(self, clients: AuthorityClients, now: float) -> dict[str, object]:
        """What ``/healthz`` and the control socket say."""
        one, waiting = self.rotation, self.waiting(clients, now)
        return {
            "fingerprint": self.authority.fingerprint,
            "expires": _iso(self.authority.expires),
            "rotation": None
            if one is None
            else {
                "phase": "switched" if one.switched else "announced",
                "predecessor": one.predecessor.fingerprint,
                "successor": one.successor.fingerprint,
                "announced": _iso(one.announced),
                "switch": _iso(one.switch),
                "ends": _iso(one.ends),
                "clients": waiting[1],
                "waiting": len(waiting[0]),
                "waiting_clients": waiting[0][:_MOST_NAMED],
            },
        }


@dataclass(frozen=True, slots=True)
class Signer:
    """By what authority a connection is signed for."""

    predecessor: Path | None = None
    """The file of the one before, where it is that one."""
    is_new: bool = False
    """Whether the successor is in use."""

    @property
    def is_successor(self) -> bool:
        """Whether it is the successor."""
        return self.is_new and self.predecessor is None


class AuthorityInUse:
    """Knows how it stands with the authority in a folder; on any thread."""

    def __init__(
        self, folder: Path, standing: Standing, events: Events, wall: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._events = events
        self._wall = wall
        self._lock = threading.Lock()
        self.standing = standing
        self.clients = AuthorityClients()
        self.on_switch: Callable[[], object] = lambda: None
        """Has what signs read the authority anew."""

    def permits(self, host: str) -> bool:
        """Whether clients accept a certificate of the authority in use for a host."""
        return self.standing.authority.permits(host)

    def signer_for(self, client: str, shown: Fingerprint, host: str) -> Signer:
        """Who signs for a client that comes now."""
        one = self.standing.rotation
        if one is None or not one.switched:
            return Signer()
        before = one.predecessor
        needed = self.clients.needs_predecessor(client, shown, one.announced.timestamp())
        return Signer(before.path if needed and before.permits(host) else None, is_new=True)

    def trusted(self, client: str, signer: Signer) -> None:
        """Take in that a client has sent a request."""
        self.clients.trusted(client, self._wall(), successor=signer.is_successor)

    def refused(self, client: str, shown: Fingerprint, signer: Signer) -> str | None:
        """Take in a client's refusal; what is done about it, if the other authority is tried.

        None where there is no other, or it was refused too.
        """
        one = self.standing.rotation
        if one is None or not (one.switched and signer.is_new):
            return None
        if not self.clients.refused(client, shown, predecessor=not signer.is_successor):
            return None
        other = "predecessor" if signer.is_successor else "successor"
        return f"its next connection is signed for by the {other}"

    @property
    def announcement(self) -> bytes:
        """What clients are given to trust, in PEM."""
        return self.standing.announcement

    def described(self) -> dict[str, object]:
        """How it stands, for programs."""
        return self.standing.described(self.clients, self._wall())

    def refreshed(self) -> dict[str, object]:
        """The same, once the folder was looked at."""
        self.refresh()
        return self.described()

    def refresh(self) -> None:
        """Take up what the folder says, do what is due, and say what is new."""
        with self._lock:
            before = self.standing
            try:
                rotation = advance(self._folder, datetime.fromtimestamp(self._wall(), UTC))
            except (AuthorityError, OSError) as error:
                self._events.log_once(Event.ROTATION_FAILED, reason=error)
                return
            if rotation == before.rotation:
                return
            authority = before.authority if rotation is None else rotation.in_use
            self.standing = Standing(authority, rotation)
            self.clients.forget_refusals()
            waiting, _ = self.standing.waiting(self.clients, self._wall())
            log_change(self._events, before.rotation, self.standing, len(waiting))
            if authority.certificate != before.authority.certificate:
                self.on_switch()

    def remind(self) -> None:
        """Say what an administrator has to do, at a start and each day."""
        authority, rotation = self.standing.authority, self.standing.rotation
        now = datetime.fromtimestamp(self._wall(), UTC)
        if rotation is None and authority.expires_within(now):
            self._events.log(
                Event.AUTHORITY_EXPIRES, expires=_iso(authority.expires), hint="entrepot ca rotate"
            )
        elif rotation is not None and not rotation.switched:
            waiting, _ = self.standing.waiting(self.clients, self._wall())
            self._events.log(
                Event.AUTHORITY_ROTATING,
                ca_sha256=rotation.successor.fingerprint,
                until=_iso(rotation.switch),
                waiting=len(waiting),
                hint="entrepot ca show",
            )

    def seconds_to_next_step(self) -> float:
        """How long until something is due; infinite where nothing is."""
        rotation = self.standing.rotation
        if rotation is None:
            return float("inf")
        due = rotation.ends if rotation.switched else rotation.switch
        return (due - datetime.fromtimestamp(self._wall(), UTC)) / timedelta(seconds=1)


def log_change(events: Events, was: Rotation | None, after: Standing, waiting: int | None) -> None:
    """Say what became of a rotation; ``waiting`` are who may not be ready, if that is known."""
    now, authority = after.rotation, after.authority
    successor = now.successor if now is not None else was.successor if was is not None else None
    if successor is None:
        return
    fingerprint = successor.fingerprint
    if authority.certificate == successor.certificate:
        if was is None or not was.switched:
            events.log(Event.AUTHORITY_SWITCHED, ca_sha256=fingerprint, waiting=waiting)
        if was is not None and now is None:
            before = was.predecessor.fingerprint
            events.log(Event.ROTATION_ENDED, ca_sha256=before, hint="delete its key")
    elif now is None:
        events.log(Event.ROTATION_ABORTED, ca_sha256=fingerprint)
    else:
        events.log(Event.AUTHORITY_ANNOUNCED, ca_sha256=fingerprint, until=_iso(now.switch))


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _time(seconds: float) -> str:
    return _iso(datetime.fromtimestamp(seconds, UTC))
