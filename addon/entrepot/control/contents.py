"""Requests about the contents of images: where they are, to be exported, and taking them in.

An export asks where objects lie and reads the files itself, as the user whose they are. An import
writes what it reads into files of the data folder; here they are hashed, committed under the names
of their repositories, and, once all of an image is there, its tag is set.

Whom imported content was given to is the administrator's word: to anybody, or to nobody.
"""

import base64
import os
import stat
import time
from collections.abc import Mapping
from functools import partial as bind
from pathlib import Path

from entrepot.control import request_members as members
from entrepot.control.documents import Document
from entrepot.control.request_members import Members
from entrepot.events.log import Events
from entrepot.events.table import Event
from entrepot.maintenance.verification import Turn
from entrepot.protocol.account import ANYONE
from entrepot.protocol.identifiers import Digest, Origin, Repository, Tag
from entrepot.protocol.image_names import registry_name
from entrepot.protocol.manifests import MAX_SIZE
from entrepot.storage.digest_check import DigestChecks
from entrepot.storage.diskcache_db.resting_objects import Resting, StoredObject
from entrepot.storage.inventory.images import InventoryError
from entrepot.storage.store import Store

_STEP_SECONDS = 20.0
"""How long a request hashes; a blob of 400 GB takes several."""
MOST_LOCATED = 20
"""Manifests have up to 4 MiB each."""


class Contents:
    """Answers these requests, each on whichever thread it comes."""

    def __init__(self, store: Store, turn: Turn, events: Events) -> None:
        self._store = store
        self._turn = turn
        self._events = events
        self._checks = DigestChecks()

    # Export

    def locate(self, request: Members) -> Document:
        """Where objects are: the file of a blob, the bytes of a manifest; null where it is gone."""
        wanted = [stored_object(one) for one in members.objects(request, "objects", MOST_LOCATED)]
        return {"objects": [self._place(one) for one in wanted]}

    def _place(self, wanted: StoredObject) -> Document | None:
        found = self._turn(bind(self._store.resting.look, wanted))
        if not isinstance(found, Resting):
            return None
        if found.file is None:
            return {"file": None, "content": _text_of(found.content)}
        with os.fdopen(found.file, "rb") as opened:
            if wanted.origin is None:
                return {
                    "file": str(Path(f"/proc/self/fd/{found.file}").readlink()),
                    "content": None,
                }
            return {"file": None, "content": _text_of(opened.read(MAX_SIZE))}

    # Import

    def take_blob(self, request: Members) -> Document:
        """Take in a blob: a file that an import has read, or one that is here already.

        ``more`` says that it is hashed yet, and that who asks is to ask again.
        """
        repository, digest = _repository(request), _digest(request)
        media_type, given_to = members.text(request, "media_type"), _given_to(request)
        path = self._read(members.text(request, "file"), digest) if request.get("file") else None
        if path is None and request.get("file"):
            return {"more": True}
        take = bind(
            self._store.blobs.take_in, path, repository, digest, media_type, given_to=given_to
        )
        if not self._turn(take):
            raise InventoryError("no_room", f"{digest}: there is no room for it; see --size")
        return {"more": False}

    def take_manifest(self, request: Members) -> Document:
        """Take in a manifest, whose bytes come with the request's file."""
        repository, digest = _repository(request), _digest(request)
        media_type, given_to = members.text(request, "media_type"), _given_to(request)
        path = self._read(members.text(request, "file"), digest)
        if path is None or path.stat().st_size > MAX_SIZE:
            raise ValueError(f"expected a manifest of at most {MAX_SIZE} bytes")
        put = bind(
            self._store.manifests.put,
            repository,
            digest,
            path.read_bytes(),
            media_type,
            given_to=given_to,
        )
        if not self._turn(put):
            raise InventoryError("no_room", f"{digest}: there is no room for it; see --size")
        return {}

    def imported(self, request: Members) -> Document:
        """An image is there: set its tag, and know its registry from now on."""
        repository, digest = _repository(request), _digest(request)
        tag = members.text(request, "tag", "")
        reference = Tag(tag) if tag else digest

        def finish() -> bool:
            found = self._store.manifests.find(repository, digest)
            if found is None:
                return False
            if tag:
                self._store.tags.set(repository, tag, found.media_type.lower(), digest)
            if self._store.hosts.get(repository.origin) is None:
                # It is asked, where it can be; what it was counts where it cannot.
                self._store.hosts.set(repository.origin, registry=True, seconds=0.0)
            return True

        if not self._turn(finish):
            raise InventoryError("not_cached", f"{digest}: it gave way for others meanwhile")
        self._store.inventory.forget()
        separator = ":" if tag else "@"
        name = f"{registry_name(repository.origin)}/{repository.name}{separator}{reference}"
        self._events.log(
            Event.IMAGE_IMPORTED,
            names=name,
            digest=digest,
            size=members.number(request, "size", 0, 2**63 - 1),
        )
        return {"name": name}

    def _read(self, name: str, digest: Digest) -> Path | None:
        """The path of a file that an import has read, once its bytes are known to be right.

        None where they are not all hashed yet.
        """
        path = self._store.partials.imported(name)
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            raise ValueError(f"expected the file {name!r} to be there") from None
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise ValueError(f"expected {name!r} to be a file")
            until = time.monotonic() + _STEP_SECONDS
            check = self._checks.advance(file, digest, lambda: time.monotonic() >= until)
            if check.damage is not None:
                raise InventoryError("damaged", f"{digest}: {check.damage}")
        finally:
            os.close(file)
        return path if check.is_whole else None


def stored_object(said: Mapping[str, object]) -> StoredObject:
    """Read which object is meant: its digest, and of a manifest the registry. ValueError."""
    registry, digest = said.get("registry"), said.get("digest")
    if not isinstance(digest, str) or not isinstance(registry, str | None):
        raise ValueError(  # noqa: TRY004 what it says is an answer
            "expected an object to have a digest, and a manifest a registry"
        )
    return StoredObject(Digest.parse(digest), None if registry is None else Origin.parse(registry))


def _repository(request: Members) -> Repository:
    return Repository(
        Origin.parse(members.text(request, "registry")), members.text(request, "repository")
    )


def _digest(request: Members) -> Digest:
    return Digest.parse(members.text(request, "digest"))


def _given_to(request: Members) -> str | None:
    return None if request.get("private") is True else ANYONE


def _text_of(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
