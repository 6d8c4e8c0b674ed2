"""Whatever happens in whatever order: nobody is shown a list that they were not told themselves."""

import json
import random

import pytest

from entrepot.protocol.account import Account
from rig.client import basic
from rig.faults import Content, Exchange, FaultServer, error, status
from unit.pull.world import ALICE, BOB, CHALLENGE, Run, World

LISTS = ("/v2/app/tags/list", "/v2/app/tags/list?n=1", "/v2/other/tags/list")
ROBOT = Account("robot", "secret", plain=True)
CALLERS = ("anybody", "alice", "bob", "robot")
SHOWN = {None: "anybody", ALICE[1]: "alice", BOB[1]: "bob", basic("robot", "secret"): "robot"}


class Registry:
    """Lists that differ by who asks, and change with every answer; who may see which is set."""

    def __init__(self) -> None:
        self.allowed = {(path, who): 200 for path in LISTS for who in CALLERS}
        self.away = False
        self.wants_login = False
        """Whether it lets nobody in without one."""
        self._number = 0

    def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        target = f"{request.path}?{request.query}" if request.query else request.path
        who = SHOWN[request.authorization]
        if self.wants_login and who == "anybody":
            error(401, "UNAUTHORIZED", "log in", CHALLENGE)(exchange)
        elif self.away:
            status(503, b"", {"Retry-After": "120"})(exchange)
        elif (code := self.allowed[target, who]) == 200:
            self._number += 1
            body = {"name": "app", "tags": [f"{self._number}"], "of": [target, who]}
            Content(json.dumps(body).encode(), "application/json")(exchange)
        else:
            error(code, "NO", "no", CHALLENGE if code == 401 else None)(exchange)


class Model:
    """What each was told last, by the rules of `pull.lists.knowledge`."""

    def __init__(self) -> None:
        self.told: dict[tuple[str, str], bytes] = {}
        self.gone: set[tuple[str, str]] = set()

    def heard(self, path: str, who: str, code: int, body: bytes) -> None:
        if code == 200:
            self.told[path, who] = body
            self.gone.discard((path, who))
        elif code == 404:
            self.told.pop((path, who), None)
            self.gone.add((path, who))
        else:
            repository = path.split("/tags", maxsplit=1)[0]
            for other in LISTS:
                if other.split("/tags")[0] == repository:
                    self.told.pop((other, who), None)

    def may_see(self, path: str, who: str) -> bytes | None:
        own = self.told.get((path, who))
        if own is not None or (path, who) in self.gone:
            return own
        return self.told.get((path, "anybody"))


@pytest.mark.parametrize("seed", range(12))
def test_nobody_is_shown_what_they_were_not_told(run: Run, server: FaultServer, seed: int) -> None:
    """Four callers, three lists, refusals of all kinds and outages, two hundred steps each."""
    choose, registry, model = random.Random(seed), Registry(), Model()  # noqa: S311 no secret
    for path in {path.partition("?")[0] for path in LISTS}:
        server.routes[path] = registry

    async def scenario(world: World) -> None:
        for _ in range(200):
            world.now[0] += 0.01
            path, who = choose.choice(LISTS), choose.choice(CALLERS)
            refusals = (404,) if who == "robot" else (401, 403, 404)  # its login rests after others
            code = choose.choice((200, 200, 200, *refusals))
            registry.allowed[path, who] = code
            registry.away = choose.random() < 0.5
            world.account = ROBOT if who == "robot" else None
            registry.wants_login = who == "robot" and not registry.away
            fields = {"alice": (ALICE,), "bob": (BOB,)}.get(who, ())
            got = await world.get(path, *fields)
            if registry.away:
                wanted = model.may_see(path, who)
                assert (got.status, got.body) == ((503, b"") if wanted is None else (200, wanted))
            else:
                assert got.status == code
                model.heard(path, who, code, got.body)

    run(scenario)
