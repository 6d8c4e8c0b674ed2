"""Requests in JSON, whatever is in them, and their answers."""

import json
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrepot.control.administration import Administration
from entrepot.events.log import Events
from entrepot.storage.store import Store
from unit.storage.inventory.world import image, pull
from unit.storage.world import APP, SIBLING

T = TypeVar("T")
ONE, TWO = image(b"base" * 99, b"one"), image(b"base" * 99, b"two")
NAME = "registry.example.test/team/app:1"


def at_once(function: Callable[[], T]) -> T:
    return function()


@pytest.fixture
def administration(store: Store) -> Administration:
    """Of a store with two images."""
    pull(store, APP, ONE, "1")
    pull(store, SIBLING, TWO, "2")
    return Administration(store, at_once, Events())


def test_images_come_by_pages(administration: Administration) -> None:
    """Each says where the next one begins; what it says can be written as JSON."""
    first = administration.answer({"do": "images", "limit": 1})
    assert (first["ok"], first["next_offset"], first["limit"]) == (True, 1, 10 * 1024**2)
    (found,) = first["images"]
    assert (found["names"], found["digest"]) == ([NAME], str(ONE.digest))
    assert found["stored"].endswith("Z")
    second = administration.answer({"do": "images", "limit": 1, "offset": 1})
    assert (second["next_offset"], second["totals"]["images"]) == (None, 2)
    assert json.loads(json.dumps(second)) == second


def test_one_image_comes_with_its_objects(administration: Administration) -> None:
    answer = administration.answer({"do": "image", "name": NAME})
    (found,) = answer["images"]
    assert [one["kind"] for one in found["objects"]] == ["manifest", "blob", "blob", "blob"]
    assert sum(one["size"] for one in found["objects"]) == found["size"]


def test_what_changes_is_an_event(
    administration: Administration, caplog: pytest.LogCaptureFixture
) -> None:
    """A dry run changes nothing, and says what the run says."""
    with caplog.at_level(logging.INFO, "entrepot"):
        would = administration.answer({"do": "remove", "names": [NAME], "dry_run": True})
        assert caplog.records == []
        pinned = administration.answer({"do": "pin", "names": [NAME]})
        refused = administration.answer({"do": "remove", "names": [NAME]})
        unpinned = administration.answer({"do": "unpin", "names": [NAME]})
        removed = administration.answer({"do": "remove", "names": [NAME]})
    assert (pinned["names"], pinned["pinned"]) == ([NAME], ONE.size)
    assert (refused["ok"], refused["code"]) == (False, "pinned")
    assert unpinned["pinned"] == 0
    assert removed == {**would, "dry_run": False}
    assert (removed["removed"], removed["untagged"]) == ([NAME], [])
    assert [record.getMessage().split()[0] for record in caplog.records] == [
        "images_pinned",
        "images_unpinned",
        "images_removed",
    ]


def test_pruning_is_an_event(
    administration: Administration, caplog: pytest.LogCaptureFixture
) -> None:
    """A dry run says what the run says, and does nothing."""
    request = {"do": "prune", "filter": "team/app", "keep_last": 0}
    with caplog.at_level(logging.INFO, "entrepot"):
        would = administration.answer({**request, "dry_run": True})
        assert caplog.records == []
        done = administration.answer(request)
    assert done == {**would, "dry_run": False}
    assert (done["removed"], done["pinned"], done["images"][0]["names"]) == ([NAME], [], [NAME])
    (record,) = caplog.records
    assert 'rules="keep_last=0 filter=team/app"' in record.getMessage()
    assert administration.answer({"do": "images"})["totals"]["images"] == 1


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (None, "bad_request"),
        ([], "bad_request"),
        ({}, "bad_request"),
        ({"do": "format"}, "bad_request"),
        ({"do": "prune"}, "bad_request"),
        ({"do": "prune", "keep_last": -1}, "bad_request"),
        ({"do": "prune", "older_than": "1d"}, "bad_request"),
        ({"do": "prune", "unused_for": float("nan")}, "bad_request"),
        ({"do": ["images"]}, "bad_request"),
        ({"do": "images", "limit": 1001}, "bad_request"),
        ({"do": "images", "limit": True}, "bad_request"),
        ({"do": "images", "offset": -1}, "bad_request"),
        ({"do": "images", "offset": 2**64}, "bad_request"),
        ({"do": "images", "sort": "age"}, "bad_request"),
        ({"do": "images", "filter": 7}, "bad_request"),
        ({"do": "images", "filter": "x" * 1001}, "bad_request"),
        ({"do": "image"}, "bad_request"),
        ({"do": "image", "name": "A B"}, "bad_request"),
        ({"do": "image", "name": "redis"}, "not_cached"),
        ({"do": "remove", "names": []}, "bad_request"),
        ({"do": "remove", "names": [7]}, "bad_request"),
        ({"do": "remove", "names": NAME}, "bad_request"),
        ({"do": "remove", "names": [NAME, "redis"]}, "not_cached"),
        ({"do": "pin", "names": ["redis"]}, "not_cached"),
    ],
)
def test_what_makes_no_sense_is_an_answer_too(
    administration: Administration, request_: Any, code: str
) -> None:
    answer = administration.answer(request_)
    assert (answer["ok"], answer["code"]) == (False, code)
    assert answer["error"]
    assert administration.answer({"do": "images"})["totals"]["images"] == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["do", "name", "names", "filter", "sort", "offset", "limit", "keep_last"]),
        st.sampled_from(
            ["images", "image", "evicted_next", "prune", "size", "used", 0, 7, None, [], "\0*"]
        ),
    )
)
def test_no_request_is_a_failure_of_ours(administration: Administration, request_: Any) -> None:
    """Whatever it holds, there is one answer, and it is JSON."""
    answer = administration.answer(request_)
    assert answer["ok"] or answer["code"] in {"bad_request", "not_cached"}
    json.dumps(answer)
