"""Requests, answers and header fields as plain values."""

import json
import os
from pathlib import Path

import pytest

from entrepot.protocol.identifiers import Origin
from entrepot.protocol.messages import (
    Answer,
    Request,
    error_answer,
    field_values,
)
from entrepot.transfer.bodies import FileBody

REGISTRY = Origin("https", "registry.example.test", 443)


def test_field_values_are_found_in_any_case_and_in_order() -> None:
    """A field may come several times, each time spelt otherwise."""
    assert field_values([("Accept", "a"), ("X", "-"), ("ACCEPT", "b")], "accept") == ["a", "b"]


def test_a_repeated_field_is_one_value() -> None:
    """Several lines are one list, as RFC 9110 section 5.2 has it; an absent field is None."""
    request = Request("GET", REGISTRY, "/", headers=(("Accept", "a"), ("accept", "b")))
    assert request.value("ACCEPT") == "a, b"
    assert request.value("Range") is None


@pytest.mark.parametrize(("query", "target"), [("", "/v2/"), ("ns=a", "/v2/?ns=a")])
def test_the_target_is_path_and_query(query: str, target: str) -> None:
    """Without a query there is no question mark."""
    assert Request("GET", REGISTRY, "/v2/", query).target == target


def test_a_request_does_not_show_its_header_fields() -> None:
    """A request in a log or a traceback holds no credential."""
    request = Request("GET", REGISTRY, "/", headers=(("Authorization", "Basic c2VjcmV0"),))
    assert "c2VjcmV0" not in repr(request)


def test_an_error_has_the_form_of_a_registrys() -> None:
    """Clients show code and message of what they can parse."""
    answer = error_answer(502, "UNAVAILABLE", 'no "answer"', host="a")
    assert isinstance(answer.content, bytes)
    assert json.loads(answer.content) == {
        "errors": [{"code": "UNAVAILABLE", "message": 'no "answer"', "detail": {"host": "a"}}]
    }
    assert answer.value("content-length") == str(len(answer.content))
    assert answer.value("Content-Type") == "application/json"
    assert answer.value("Docker-Distribution-Api-Version") == "registry/2.0"


def test_adding_fields_leaves_the_answer_as_it_was() -> None:
    """An answer is a value."""
    answer = Answer(200, (("A", "1"),), b"x")
    assert answer.adding(("B", "2")) == Answer(200, (("A", "1"), ("B", "2")), b"x")
    assert answer.headers == (("A", "1"),)


def test_closing_an_answer_closes_its_body(tmp_path: Path) -> None:
    """An answer that is not sent leaves no file open; one of bytes has nothing to close."""
    file = os.open(tmp_path / "file", os.O_CREAT)
    answer = Answer(200, (), FileBody(file, 0, 0))
    answer.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)
    answer.close()
    Answer(200, (), b"x").close()
