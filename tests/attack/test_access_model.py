"""Promise 2 against a reference that asks upstream every time, in random histories.

Users log in, tokens end and are revoked, permissions come and go, repositories turn private,
tags move, objects are pushed and deleted, time passes, fetches stand still half-way, registries
fail; in between everybody asks the cache for everything. Whatever the cache gives must be what the
registry gives that client now, or gave it within the windows of docs/authorization.md; and what the
registry gives, the cache does not refuse.

While registries fail, the cache gives what was given to anybody, or to the account, before, unless
such were refused it since; and it does give that, whatever others were told meanwhile.

The short form runs the same histories every time, whichever Hypothesis draws first;
``--model-examples N`` runs N new ones, and with ``--hypothesis-seed`` the same new ones again.
"""

import asyncio
import json
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from attack.access_windows import Header, History, Kept
from attack.reference_registry import (
    ACCOUNT,
    BLOB_DIGESTS,
    CONTENT,
    MANIFEST_DIGESTS,
    MANIFEST_TYPE,
    MEMBERS,
    REGISTRIES,
    ReferenceServer,
    Token,
    World,
)
from entrepot.auth import anonymous_tokens, token_requests
from entrepot.auth.grants import Access
from entrepot.events.log import Events
from entrepot.http_client.client import HttpClient
from entrepot.http_client.connect.trust_store import Roots
from entrepot.protocol.account import Account
from entrepot.protocol.identifiers import Digest, Repository, Tag
from entrepot.protocol.messages import Answer, BodyError, Fields, Request
from entrepot.protocol.routes import Blob, Manifest, parse_endpoint
from entrepot.pull.cache import Cache
from entrepot.storage.store import Store
from entrepot.upstream.context import Context
from rig.multipart import parts_of

SHORT_EXAMPLES, STEPS = 60, 40
TAGS = ("1", "2")
WHERE = st.integers(0, 2 * len(REGISTRIES) - 1)
RANGES = tuple(
    ("Range", f"bytes={wanted}")
    for wanted in (
        "0-0",
        "3-20",
        "-60",
        "-1",
        "50-",
        "0-",
        "200000-260000",
        "300000-300000",
        "399999-500000",
        "3-20,30-40",
        "0-9,100000-100009,-10",
    )
)
"""Bounded and open ones, suffixes, several; of the large blob some leave gaps in between."""
LOOKS, LOOK_SECONDS = 3, 0.01
"""How often in a row nothing is to be under way before a request is taken for one that waits."""
LARGEST = BLOB_DIGESTS[-1]
Field = tuple[str, str] | None
Ask = tuple[int, Field]
"""Who asks, and with which field beside the usual ones."""
ASKS = st.tuples(st.integers(0, 11), st.sampled_from([None, *RANGES]))


@dataclass(slots=True)
class Pending:
    """A request that a held-back fetch keeps from its end."""

    header: Header
    repository: Repository
    digest: Digest
    task: "asyncio.Task[Got]"
    allowed: bool


@dataclass(frozen=True, slots=True)
class Got:
    """An answer, read to its end or to where it was cut."""

    status: int
    fields: dict[str, str]
    body: bytes
    whole: bool

    @property
    def how(self) -> str:
        return self.fields.get("cache-status", "")


class Parts:
    """What all histories share: it is costly to make, and knows nothing of who may have what."""

    server: ReferenceServer
    upstream: HttpClient
    folder: Path
    totals: Counter[str]


class AccessMachine(RuleBasedStateMachine):
    """One history."""

    def __init__(self) -> None:
        super().__init__()
        server = Parts.server
        server.gate.set()
        server.away = False
        self.world = server.world = World()
        self.world.now = float(int(time.time()))  # the store's rows end by the time of day
        self.history = History(self.world)
        self.kept = Kept()
        self.ticks = count()
        self.pending: list[Pending] = []
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(dir=Parts.folder))
        self.store = Store(self.folder, 10**8, clock=self._time)
        self.access = Access(b"secret")
        self.events = Events()
        self.context = Context.make(
            self.store,
            Parts.upstream,
            self.access,
            self.events,
            lambda: self.world.now,
            self._time,
        )
        self.cache = Cache(self.context)

    def _time(self) -> float:
        """No two moments are the same, as with a real clock."""
        return self.world.now + next(self.ticks) * 1e-6

    def teardown(self) -> None:
        Parts.server.gate.set()
        self.runner.run(self._end())
        self.runner.close()
        self.store.close()
        shutil.rmtree(self.folder)

    async def _end(self) -> None:
        await self._release()
        await self._settled()
        await self.cache.pushes.stop(1)
        self.context.store_thread.close()  # and not the rest: upstream is shared

    # The world changes

    @initialize(data=st.data())
    def fill(self, data: st.DataObject) -> None:
        """Every repository begins with something in it."""
        for held in self.world.repositories.values():
            objects = data.draw(st.sets(st.sampled_from(sorted(CONTENT)), min_size=3))
            held.objects = set(objects)
            held.ever = set(objects)
            manifests = sorted(objects & set(MEMBERS))
            if manifests:
                held.tags = {"1": manifests[0]}

    @rule(
        where=WHERE,
        user=st.sampled_from([None, "alice", "bob"]),
        form=st.booleans(),
        life=st.sampled_from([30, 100, 1000]),
    )
    def log_in(self, where: int, user: str | None, form: bool, life: int) -> None:  # noqa: FBT001
        """Get a token, in view of the proxy, as ``mitm.hooks.passthrough`` watches it."""
        if len(self.world.tokens) >= 8:
            return
        repository = self._repository(where)
        name = f"{user}-{len(self.world.tokens)}"
        now = self.world.now
        seen = not (form and user is None)  # an anonymous form is taken for a login
        self.world.tokens[name] = Token(user, repository, now + life, seen)
        shown: Fields = () if user is None or form else (("Authorization", f"Basic {user}"),)
        request = Request(
            "POST" if form else "GET",
            repository.origin,
            "/token",
            "" if form else f"service=s&scope=repository:{repository.name}:pull&account={user}",
            shown,
        )
        issued = token_requests.parse_issued(
            json.dumps({"token": name, "expires_in": life}).encode()
        )
        assert issued is not None
        if not seen:
            return
        for token in issued.tokens:
            anonymous = anonymous_tokens.is_anonymous(request)
            assert anonymous is (user is None)
            self.access.credentials.token_issued(
                token, anonymous=anonymous, expires=now + issued.seconds, now=now
            )

    @rule(which=st.integers(0, 7))
    def revoke(self, which: int) -> None:
        """A token is worth nothing from now on."""
        for token in list(self.world.tokens.values())[which : which + 1]:
            token.revoked = True
            self._note("a token was revoked")

    @rule(where=WHERE, user=st.sampled_from(["alice", "bob", "robot"]))
    def grant_or_take(self, where: int, user: str) -> None:
        """A reader more, or one less."""
        self.world.repositories[self._repository(where)].readers ^= {user}

    @rule(where=WHERE)
    def turn(self, where: int) -> None:
        """A repository turns private, or public."""
        held = self.world.repositories[self._repository(where)]
        held.public = not held.public

    @rule(where=WHERE, digest=st.sampled_from(sorted(CONTENT)), seen=st.booleans())
    def push(self, where: int, digest: Digest, seen: bool) -> None:  # noqa: FBT001
        """An object comes in, through the proxy or not."""
        held = self.world.repositories[self._repository(where)]
        held.objects.add(digest)
        held.ever.add(digest)
        if seen:
            self.runner.run(self._push(self._repository(where), digest))
            self._note("an object was pushed")

    @rule(where=WHERE, digest=st.sampled_from(sorted(CONTENT)), seen=st.booleans())
    def delete(self, where: int, digest: Digest, seen: bool) -> None:  # noqa: FBT001
        """An object goes; seen or not by the proxy."""
        repository = self._repository(where)
        held = self.world.repositories[repository]
        held.objects.discard(digest)
        held.tags = {tag: one for tag, one in held.tags.items() if one != digest}
        if seen:
            held.ever.discard(digest)
            self._changed("DELETE", where, digest)
            self.history.deleted(repository, digest)
            self.kept.deleted(repository, digest)

    @rule(where=WHERE, tag=st.sampled_from(TAGS), digest=st.sampled_from(MANIFEST_DIGESTS))
    def move(self, where: int, tag: str, digest: Digest) -> None:
        """A tag moves, out of the proxy's sight."""
        held = self.world.repositories[self._repository(where)]
        held.objects.add(digest)
        held.ever.add(digest)
        held.tags[tag] = digest

    @rule(seconds=st.sampled_from([1.0, 29.0, 59.0, 61.0, 299.0, 301.0, 599.0, 601.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.history.take(until=self.world.now + seconds)
        self.world.now += seconds

    @precondition(lambda _: Parts.server.gate.is_set())
    @rule()
    def hold(self) -> None:
        """Bodies of blobs come half-way from now on."""
        Parts.server.gate.clear()

    @precondition(lambda _: Parts.server.gate.is_set())
    @rule(
        where=WHERE,
        digest=st.sampled_from(BLOB_DIGESTS),
        people=st.lists(ASKS, min_size=2, max_size=3),
    )
    def hold_a_fetch(self, where: int, digest: Digest, people: list[Ask]) -> None:
        """The same, and several ask for a blob that all may read."""
        held = self.world.repositories[self._repository(where)]
        held.public = True
        held.objects.add(digest)
        held.ever.add(digest)
        self.is_noted()
        self.hold()
        for who, field in people:
            self._ask(where, who, digest, "GET", field)

    @precondition(lambda _: Parts.server.gate.is_set())
    @rule(
        where=WHERE,
        digest=st.sampled_from([BLOB_DIGESTS[0], LARGEST, LARGEST]),
        first=st.sampled_from([None, *RANGES]),
        others=st.lists(st.tuples(WHERE, ASKS), min_size=1, max_size=4),
    )
    def hold_a_private_fetch(
        self,
        where: int,
        digest: Digest,
        first: Field,
        others: list[tuple[int, Ask]],
    ) -> None:
        """One asks for a blob, whole or in part, that is hers alone; others ask for parts of it.

        Some of it is here by then. Some of them ask for it elsewhere, or are let in meanwhile.
        """
        held = self.world.repositories[self._repository(where)]
        held.public = False
        held.readers = {"alice"}
        held.objects.add(digest)
        held.ever.add(digest)
        self.is_noted()
        self._ask(where, 0, LARGEST, "GET", ("Range", "bytes=0-9"))
        self.hold()
        self._ask(where, 1, digest, "GET", first)
        for at, (who, field) in others:
            self._ask(at, who, digest, "GET", field)
        held.readers.clear()
        self.is_noted()
        for at, (who, field) in others:
            self._ask(at, who, digest, "GET", field)
        self._note("a private fetch was held back")

    @precondition(lambda _: not Parts.server.gate.is_set())
    @rule()
    def release(self) -> None:
        """What was held back comes to its end."""
        self.runner.run(self._release())

    @invariant()
    def is_noted(self) -> None:
        """The history goes on after every step."""
        self.history.take()
        for one in self.pending:
            one.allowed |= self.history.allows(one.header, one.repository, one.digest)

    # Clients ask

    @rule(
        where=WHERE,
        who=st.integers(0, 11),
        digest=st.sampled_from(sorted(CONTENT)),
        method=st.sampled_from(["GET", "GET", "GET", "HEAD"]),
        field=st.sampled_from([None, None, *RANGES, ("If-None-Match", "*")]),
    )
    def ask(
        self,
        where: int,
        who: int,
        digest: Digest,
        method: str,
        field: tuple[str, str] | None,
    ) -> None:
        """A blob, or a manifest by its digest."""
        self._ask(where, who, digest, method, field)

    @rule(
        where=WHERE,
        who=st.integers(0, 11),
        digest=st.sampled_from(BLOB_DIGESTS),
        others=st.lists(ASKS, min_size=1, max_size=2),
        field=st.sampled_from([None, *RANGES]),
    )
    def ask_again(
        self, where: int, who: int, digest: Digest, others: list[Ask], field: Field
    ) -> None:
        """One blob by several in turn: what one was allowed must not help the next."""
        for one, wanted in ((who, field), *others, (who, field)):
            self._ask(where, one, digest, "GET", wanted)

    @rule(
        where=WHERE,
        who=st.integers(0, 11),
        digest=st.sampled_from(sorted(CONTENT)),
        change=st.sampled_from(["turn", "take", "revoke", "delete", "nothing"]),
        seconds=st.sampled_from([0.0, 29.0, 61.0, 301.0]),
        other=st.integers(0, 11),
        told=st.booleans(),
    )
    def ask_around_a_change(
        self,
        where: int,
        who: int,
        digest: Digest,
        change: str,
        seconds: float,
        other: int,
        told: bool,  # noqa: FBT001
    ) -> None:
        """Somebody is given something, loses the right to it, hears of that, and asks again."""
        header = self._header(who)
        held = self.world.repositories[self._repository(where)]
        held.objects.add(digest)
        held.ever.add(digest)
        if change == "take":
            held.public = False
            held.readers = {"alice", "bob", "robot"}
        self._ask(where, who, digest, "GET", None)
        self.is_noted()
        if change == "turn":
            held.public = not held.public
        elif change == "take":
            held.readers.clear()
        elif change == "revoke":
            for name, token in self.world.tokens.items():
                token.revoked |= header == f"Bearer {name}"
        elif change == "delete":
            held.objects.discard(digest)
            held.tags = {tag: one for tag, one in held.tags.items() if one != digest}
        self.is_noted()
        if seconds:
            self.wait(seconds)
        if told:
            self.ask_for_a_tag(where, who, TAGS[0], "GET")
        for one in (who, other, who):
            self._ask(where, one, digest, "GET", None)

    @precondition(lambda _: Parts.server.gate.is_set())
    @rule(where=WHERE, who=st.integers(0, 4), digest=st.sampled_from(sorted(CONTENT)))
    def ask_after_losing_the_right(self, where: int, who: int, digest: Digest) -> None:
        """Somebody is given what all may read, which turns private unheard of, and asks again."""
        held = self.world.repositories[self._repository(where)]
        held.public = True
        held.objects.add(digest)
        held.ever.add(digest)
        self.is_noted()
        self._ask(where, who, digest, "GET", None)
        held.public = False
        held.readers.clear()
        self.is_noted()
        self._ask(where, who, digest, "GET", None)

    def _ask(
        self, where: int, who: int, digest: Digest, method: str, field: tuple[str, str] | None
    ) -> None:
        repository, header = self._repository(where), self._header(who)
        endpoint = (
            Manifest(repository.name, digest)
            if digest in MEMBERS
            else Blob(repository.name, digest)
        )
        request = self._request(method, repository, header, endpoint, field)
        asked = Parts.server.asked
        got = self.runner.run(self._try(request, endpoint, header, repository, digest))
        if got is not None:
            self._judge(got, header, repository, digest, method, asked)

    @rule(
        where=WHERE,
        who=st.integers(0, 11),
        tag=st.sampled_from(TAGS),
        method=st.sampled_from(["GET", "HEAD"]),
    )
    def ask_for_a_tag(self, where: int, who: int, tag: str, method: str) -> None:
        """A tag is what it is now, for whom may read it now."""
        repository, header = self._repository(where), self._header(who)
        endpoint = Manifest(repository.name, Tag(tag))
        request = self._request(method, repository, header, endpoint, None)
        got = self.runner.run(self._read(request, endpoint))
        held = self.world.repositories[repository]
        digest = held.tags.get(tag)
        given = digest is not None and self.world.gives(header, repository, digest)
        if got.status == 401 and header == ACCOUNT:
            self._refused(header, repository, got.status, Tag(tag), method)
        elif given and digest is not None:
            assert (got.status, got.fields["docker-content-digest"]) == (200, str(digest))
            assert got.body == (CONTENT[digest] if method == "GET" else b"")
            self.kept.tag_given(header, repository, tag, digest, got.how)
            self.history.told_of_tag(header, repository, tag, gone=False)
            self._note(f"a tag was given: {got.how.partition('entrepot; ')[2]}")
        else:
            assert "hit" not in got.how
            assert not any(got.body and got.body in data for data in CONTENT.values())
            assert got.fields.get("docker-content-digest") not in [str(one) for one in CONTENT]
            if got.status in (401, 404):
                self._refused(header, repository, got.status, Tag(tag), method)

    def _refused(
        self,
        header: Header,
        repository: Repository,
        status: int,
        reference: Digest | Tag,
        method: str,
    ) -> None:
        """Take in a refusal: a 404 is of what was asked for alone."""
        if status == 404 and isinstance(reference, Tag):
            self.history.told_of_tag(header, repository, reference.name, gone=True)
            self._ends(header, repository, reference.name)
            return
        gone = reference if status == 404 and isinstance(reference, Digest) else None
        # Some registries refuse every HEAD of a blob.
        for_all = method == "GET" or isinstance(reference, Tag) or reference in MEMBERS
        self.history.refused(header, repository, gone, for_all=for_all)
        self._ends(header, repository, gone)

    def _ends(self, header: Header, repository: Repository, gone: Digest | str | None) -> None:
        for one in {header, None} if self.history.is_anonymous(header) else {header}:
            self.kept.refused(one, repository, gone)

    # Registries fail

    @precondition(lambda _: Parts.server.gate.is_set())
    @rule(
        where=WHERE,
        who=st.integers(0, 11),
        tag=st.sampled_from(TAGS),
        digests=st.lists(st.sampled_from(sorted(CONTENT)), max_size=3),
    )
    def fail(self, where: int, who: int, tag: str, digests: list[Digest]) -> None:
        """Ask while no registry answers: what was given is given, to no one else."""
        self._fail(self._repository(where), [who], tag, digests)

    def _fail(
        self, repository: Repository, people: list[int], tag: str, digests: list[Digest]
    ) -> None:
        """One outage. Who asks asks again at its end: what is served meanwhile must not help."""
        Parts.server.away = True
        headers = [self._header(who) for who in people]
        references: list[Digest | Tag] = [Tag(tag), *digests]
        for header in headers:
            for reference in references:
                self._fails_for(header, repository, reference)
        for (one, of, name), digest in self.kept.tags()[:4]:
            got = self._fails_for(one, of, Tag(name))
            assert got.fields.get("docker-content-digest") == str(digest), (one, of, name, got)
            self._note("a tag that was kept")
        for one, (of, digest) in self.kept.objects()[:8]:
            got = self._fails_for(one, of, digest)
            assert got.body == CONTENT[digest], (one, of, digest, got)
            self._note("an object that was kept")
        for header in headers:
            self._fails_for(header, repository, Tag(tag))
        Parts.server.away = False

    @precondition(lambda _: Parts.server.gate.is_set())
    @rule(
        where=WHERE,
        who=st.sampled_from([0, 4]),
        tag=st.sampled_from(TAGS),
        manifest=st.sampled_from(MANIFEST_DIGESTS),
        strangers=st.lists(st.integers(0, 11), max_size=3),
        method=st.sampled_from(["GET", "HEAD"]),
        hidden=st.booleans(),
    )
    def fail_after_a_pull(
        self,
        where: int,
        who: int,
        tag: str,
        manifest: Digest,
        strangers: list[int],
        method: str,
        hidden: bool,  # noqa: FBT001
    ) -> None:
        """Anybody, or the account, pulls; strangers are told what they are told; nobody answers."""
        held = self.world.repositories[self._repository(where)]
        members = [one for one in MEMBERS[manifest] if one not in MEMBERS]
        self.move(where, tag, manifest)
        held.objects.update(members)
        held.ever.update(members)
        for number, one in enumerate((who, *strangers)):
            self.is_noted()
            self.ask_for_a_tag(where, one, tag, method if number else "GET")
            for digest in (manifest, *members):
                self._ask(where, one, digest, "GET", None)
            if hidden:
                held.tags.pop(tag, None)
                held.objects -= {manifest, *members[:1]}
        self.is_noted()
        people = [who, *strangers]
        self._fail(self._repository(where), people, tag, [manifest, *members])

    def _fails_for(self, header: Header, repository: Repository, reference: Digest | Tag) -> "Got":
        endpoint: Blob | Manifest = Manifest(repository.name, reference)
        if isinstance(reference, Digest) and reference not in MEMBERS:
            endpoint = Blob(repository.name, reference)
        request = self._request("GET", repository, header, endpoint, None)
        got = self.runner.run(self._read(request, endpoint))
        given = [one for one in CONTENT if got.body and got.body in CONTENT[one]]
        tag = reference.name if isinstance(reference, Tag) else None
        for digest in given:
            allowed = self.history.allowed_ever(header, repository, digest, tag)
            assert allowed, (header, repository, reference, digest, got)
        self._note(f"{'' if given else 'not '}given while the registry fails")
        return got

    def _judge(
        self,
        got: Got,
        header: Header,
        repository: Repository,
        digest: Digest,
        method: str,
        asked: int,
    ) -> None:
        """The two halves of the promise, for one answer that has ended."""
        given = self.world.gives(header, repository, digest)
        allowed = self.history.allows(header, repository, digest)
        if _has_got(got, digest, method):
            assert allowed, f"{header} got {digest} of {repository}: {got.how}"
            assert _is_what_it_says(got, digest), f"other bytes of {digest}: {got.fields}"
            if got.status == 206:
                self._note(f"a part: {got.how.removeprefix('entrepot; ')}")
            if got.body == CONTENT[digest]:
                asks = Parts.server.asked > asked
                self.kept.given(header, repository, digest, got.how, asked=asks)
            if "hit" in got.how and Parts.server.asked == asked:
                self._note("a hit by memory" + ("" if given else ", after it ended upstream"))
                if header == ACCOUNT:
                    self._note("a hit for the account")
                if not self.world.may_read(header, repository):
                    self._note("a hit within the window of a revoked permission")
            elif "hit" in got.how:
                self._note("a hit after a question")
            else:
                self._note(f"from upstream: {got.how.removeprefix('entrepot; fwd=miss; ')}")
        else:
            # An account's login that was refused rests for a minute; a 416 is of a part beyond.
            beyond = got.status == 416 and method == "GET" and digest not in MEMBERS
            refused = given and header != ACCOUNT and not beyond
            assert not refused, f"{header} was refused {digest}: {got}"
            assert "hit" not in got.how
            self._note("refused" if got.status in (401, 404) else "a login page")
            if got.status in (401, 404):
                self._refused(header, repository, got.status, digest, method)

    # The engine

    async def _try(
        self,
        request: Request,
        endpoint: Blob | Manifest,
        header: Header,
        repository: Repository,
        digest: Digest,
    ) -> Got | None:
        """The answer; None where a fetch that is held back keeps it from its end."""
        task = asyncio.create_task(self._read(request, endpoint))
        if Parts.server.gate.is_set():
            got = await task
            await self._settled()
            return got
        await self._done_or_held_back(task)
        if task.done():
            return task.result()
        allowed = self.history.allows(header, repository, digest)
        self.pending.append(Pending(header, repository, digest, task, allowed))
        self._note("a fetch was followed" if len(self.pending) > 1 else "a fetch was held back")
        return None

    async def _done_or_held_back(self, task: "asyncio.Task[Got]") -> None:
        """Wait until it has ended, or nothing happens any more but that fetches are held back."""
        looks = 0
        while looks < LOOKS and not task.done():
            await asyncio.wait({task}, timeout=LOOK_SECONDS)
            await self.context.store_thread.run(lambda: None, None)
            slots = self.context.threads.slots
            is_still = not Parts.server.answering and slots.taken <= Parts.server.held
            looks = looks + 1 if is_still else 0

    async def _release(self) -> None:
        Parts.server.gate.set()
        pending, self.pending = self.pending, []
        for one in pending:
            got = await one.task
            method = "GET"
            if _has_got(got, one.digest, method):
                assert one.allowed, f"{one.header} got {one.digest} of {one.repository}: {got.how}"
                self._note("a fetch that was held back ended")
            elif got.status in (401, 404):
                self._refused(one.header, one.repository, got.status, one.digest, method)
        await self._settled()

    async def _settled(self) -> None:
        while self.cache.downloads:
            await self.context.store_thread.run(lambda: None, None)

    async def _read(self, request: Request, endpoint: Blob | Manifest) -> Got:
        return await _read(await self.cache.handle(request, endpoint))

    def _request(
        self,
        method: str,
        repository: Repository,
        header: Header,
        endpoint: Blob | Manifest,
        field: tuple[str, str] | None,
    ) -> Request:
        kind, last = (
            ("blobs", str(endpoint.digest))
            if isinstance(endpoint, Blob)
            else ("manifests", str(endpoint.reference))
        )
        shown = None if header == ACCOUNT else header
        fields = [("Accept", "*/*"), *([("Authorization", shown)] if shown else [])]
        return Request(
            method,
            repository.origin,
            f"/v2/{repository.name}/{kind}/{last}",
            headers=(*fields, *([field] if field else [])),
            account=Account("robot", "secret", plain=True) if header == ACCOUNT else None,
        )

    async def _push(self, repository: Repository, digest: Digest) -> None:
        """Let an object pass to the registry, who takes it in."""
        path, query, kind = f"/v2/{repository.name}/blobs/uploads/", f"digest={digest}", "a/blob"
        method = "POST"
        if digest in MEMBERS:
            path, query, kind = f"/v2/{repository.name}/manifests/{digest}", "", MANIFEST_TYPE
            method = "PUT"
        endpoint = parse_endpoint(method, path, query)
        fields = (("Authorization", "Basic alice"), ("Content-Type", kind))
        request = Request(method, repository.origin, path, query, fields)
        watched = self.cache.pushes.watch(request, endpoint, len(CONTENT[digest]))
        assert watched is not None
        for part in (CONTENT[digest], b""):
            watched.add(part)
        if isinstance(endpoint, Manifest):
            await self.cache.changed(method, request, endpoint)
        watched.answered(201, ())
        await self.cache.pushes.blob_settled(repository, digest)
        await self.cache.pushes.manifests_settled(repository)

    def _changed(self, method: str, where: int, digest: Digest) -> None:
        repository = self._repository(where)
        kind = Manifest if digest in MEMBERS else Blob
        endpoint = kind(repository.name, digest)
        request = self._request(method, repository, "Basic alice", endpoint, None)
        self.runner.run(self.cache.changed(method, request, endpoint))

    def _repository(self, where: int) -> Repository:
        return list(self.world.repositories)[where]

    def _header(self, who: int) -> Header:
        headers = self.history.headers()
        return headers[who % len(headers)]

    def _note(self, what: str) -> None:
        event(what)
        Parts.totals[what] += 1


async def _read(answer: Answer) -> Got:
    fields = {name.lower(): value for name, value in answer.headers}
    if isinstance(answer.content, bytes):
        return Got(answer.status, fields, answer.content, whole=True)
    body, whole = b"", True
    try:
        while piece := await answer.content.read():
            body += piece
    except BodyError:
        whole = False
    answer.close()
    return Got(answer.status, fields, body, whole)


def _parts(got: Got) -> list[tuple[int | None, bytes]]:
    """What an answer gives, and from where on, if it says so."""
    kind = got.fields.get("content-type", "")
    if got.status == 206 and kind.startswith("multipart/byteranges") and got.whole:
        return [*parts_of(kind, got.body)]
    placed = re.fullmatch(r"bytes (\d+)-\d+/\d+", got.fields.get("content-range", ""))
    return [(int(placed[1]) if placed else None, got.body)]


def _is_what_it_says(got: Got, digest: Digest) -> bool:
    """Whether all bytes are those of their place, and a whole answer has as many as it says."""
    content, parts = CONTENT[digest], _parts(got)
    said = got.fields.get("content-length")
    if got.whole and got.body and said is not None and int(said) != len(got.body):
        return False
    return got.status != 206 or all(
        start is not None and content.startswith(data, start) for start, data in parts
    )


def _has_got(got: Got, digest: Digest, method: str) -> bool:
    """Whether an answer gives an object, part of it, or away that it is there."""
    content = CONTENT[digest]
    if any(part and part in content for _, part in _parts(got)):
        return True
    if got.status == 304:
        return True
    if got.status == 416:  # which says how long it is
        return got.fields.get("content-range") == f"bytes */{len(content)}"
    named = got.fields.get("docker-content-digest") == str(digest)
    long = got.fields.get("content-length") == str(len(content))
    return got.status == 200 and method == "HEAD" and (named or long)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[type[Parts]]:
    Parts.server = ReferenceServer()
    Parts.upstream = HttpClient(Roots(None, None), resolve=Parts.server.resolve, read_seconds=60)
    Parts.folder = tmp_path
    Parts.totals = Counter()
    yield Parts
    Parts.upstream.close()
    Parts.server.stop()


def test_nobody_gets_what_upstream_would_not_give(
    parts: type[Parts], request: pytest.FixtureRequest
) -> None:
    """Promise 2, and that the histories come to the states that matter."""
    examples: int | None = request.config.getoption("--model-examples")
    run_state_machine_as_test(
        AccessMachine,
        settings=settings(
            max_examples=examples or SHORT_EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=examples is None,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    for what, times in parts.totals.most_common():
        print(f"{times:8} {what}")  # noqa: T201 shown by -s, and where it fails
    for what in (
        "a hit by memory",
        "a hit after a question",
        "a hit for the account",
        "a hit within the window of a revoked permission",
        "a fetch that was held back ended",
        "a fetch was followed",
        "a login page",
        "refused",
        "given while the registry fails",
        "not given while the registry fails",
        "a tag that was kept",
        "an object that was kept",
    ):
        assert parts.totals[what], f"no history came to: {what}"
