"""What clients get while a registry, its token server or its content network is away.

Packets are really dropped, by a firewall in a network of the test's own. The short form looks at
what is served; the long form, `--outage-table FILE`, measures each cell with a proxy of its own.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rig.away import FAULTS, Away, Fault
from rig.images import ImageFactory
from rig.isolated import isolated
from rig.needs import need, need_root
from rig.outage_table import (
    CASES,
    COLD,
    PRIVATE,
    PUSH,
    REMEMBERED,
    WARM_DIGEST,
    WARM_TAG,
    Got,
    markdown,
    prepared,
)

BY_NAME = {fault.name: fault for fault in FAULTS}
WARM = (WARM_TAG, WARM_DIGEST, REMEMBERED)
GONE = ("packets dropped", "resolver's packets dropped", "head drips")
FAILING = ("refused", "wrong certificate")
TOKENS_GONE = ("token server: dropped", "token server: 429")

INTRODUCTION = """\
# What clients get while upstream is away

Written by `scripts/test tests/attack/test_outage_table.py --outage-table FILE`. Registry, token
server and content network are three servers in a network of their own; packets are dropped by
nftables. As at Docker Hub everybody needs a token, and blobs are redirected. Each cell has a proxy
of its own with open connections, as after a pull; through it a client does what docker does (ping,
token, manifest, layer; for a push the first request of an upload), and then once more. The
deadlines are the default ones: 3 s to connect, 5 s for an answer.

*revalidated*: the tag is confirmed. *stale*: it is what it last was, with a `Warning`.
*unconfirmed*: content by digest that anybody may have. *hit*: a remembered decision. *fetched*:
from upstream. *202*: the upload begins. Bold: it fails, there and so.

"""


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_root()
    need("nft", "ip", "setpriv")


def observed(fault: Fault, images: ImageFactory, cases: tuple[str, ...]) -> dict[str, list[Got]]:
    """Two tries of each case, all through one proxy, in their order."""

    def observe(folder: Path) -> dict[str, list[Got]]:
        away = Away(folder, answer_timeout="3s")
        with prepared(away, images, cases) as columns, fault.begin(away):
            return {
                case: [column.attempt() for _ in range(1 if case == COLD else 2)]
                for case, column in columns.items()
            }

    return isolated(observe)


@pytest.mark.parametrize("name", [*GONE, *FAILING])
def test_what_is_held_is_served_while_the_registry_is_away(name: str, images: ImageFactory) -> None:
    """Each host that hangs is waited for once, by whoever asks it first."""
    seen = observed(BY_NAME[name], images, WARM)
    hows = {case: {got.how if got.is_whole else got.step for got in seen[case]} for case in WARM}
    assert hows[WARM_TAG] == hows[REMEMBERED] == {"stale"}
    assert hows[WARM_DIGEST] <= {"unconfirmed", "hit"}
    if name in GONE:
        assert sum(got.asked for case in WARM for got in seen[case]) == 2  # registry, token server
        assert [seen[case][1].asked for case in WARM] == [0, 0, 0]


def test_what_may_not_be_served_fails_in_upstreams_words(images: ImageFactory) -> None:
    """A new login for what is private, a push, and what is not held."""
    seen = observed(BY_NAME["429"], images, (PRIVATE, PUSH, COLD))
    ends = {(got.step, got.status) for tries in seen.values() for got in tries}
    assert ends == {("manifest", 429), ("upload", 429)}


@pytest.mark.parametrize("name", TOKENS_GONE)
def test_what_is_held_is_served_while_the_token_server_is_away(
    name: str, images: ImageFactory
) -> None:
    """What is not held cannot be had, and the client's login is not blamed for it."""
    seen = observed(BY_NAME[name], images, (WARM_TAG, WARM_DIGEST, REMEMBERED, COLD))
    assert all(got.is_whole for case in WARM for got in seen[case])
    (cold,) = seen[COLD]
    assert (cold.step, cold.status) == ("manifest", 503)


def test_a_content_network_that_is_away_is_not_missed(images: ImageFactory) -> None:
    """What is held is confirmed as ever; a push is not concerned."""
    seen = observed(BY_NAME["content network: dropped"], images, (WARM_TAG, WARM_DIGEST, PUSH))
    assert [got.how for got in seen[WARM_TAG]] == ["revalidated"] * 2
    assert all(got.is_whole for got in (*seen[WARM_DIGEST], *seen[PUSH]))


def test_a_cold_pull_outlives_the_death_of_its_registry(images: ImageFactory) -> None:
    """All servers die in the middle of a layer and come back: the client gets it whole."""
    seen = observed(BY_NAME["dies in a blob, back in 2 s"], images, (COLD,))
    assert [got.how for got in seen[COLD]] == ["fetched"]


@pytest.mark.slow
def test_write_the_outage_table(request: pytest.FixtureRequest, images: ImageFactory) -> None:
    """Every fault, every kind of request: without a fault all of them are well."""
    file = request.config.getoption("--outage-table", None)
    if file is None:
        pytest.skip("long: tests/attack/test_outage_table.py --outage-table FILE")

    def measured(fault: Fault, case: str) -> tuple[Got, Got]:
        def measure(folder: Path) -> tuple[Got, Got]:
            away = Away(folder)
            with prepared(away, images, (case,)) as columns, fault.begin(away):
                return columns[case].attempt(), columns[case].attempt()

        return isolated(measure)

    def row(case: str) -> dict[tuple[str, str], tuple[Got, Got]]:
        return {(fault.name, case): measured(fault, case) for fault in FAULTS}

    with ThreadPoolExecutor(3) as pool:  # they mostly wait
        seen = {cell: got for rows in pool.map(row, CASES) for cell, got in rows.items()}
    Path(file).write_text(INTRODUCTION + markdown(seen, FAULTS))
    assert all(got.is_whole for case in CASES for got in seen["none", case])
