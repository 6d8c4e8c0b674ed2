"""/setup and its variants, as values."""

import json
from datetime import UTC, datetime

import pytest

from entrepot.config.mirror_spec import Mirror
from entrepot.endpoints.setup.setup_pages import SetupPages
from entrepot.endpoints.setup.variants import VARIANTS
from entrepot.protocol.messages import Answer
from entrepot_ca import Authority, create

HOSTS = ("cache:3128", "[2001:db8::7]:3128")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return create(tmp_path_factory.mktemp("authority"), now=datetime.now(UTC))


def pages(authority: Authority, *mirrors: str) -> SetupPages:
    return SetupPages(authority.certificate_pem, [Mirror.parse(text) for text in mirrors])


def text(answer: Answer) -> str:
    assert isinstance(answer.content, bytes)
    assert answer.value("Content-Length") == str(len(answer.content))
    return answer.content.decode()


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_names_the_cache_and_its_certificate(
    authority: Authority, name: str, host: str
) -> None:
    """By the address that was asked, and with the fingerprint of the certificate."""
    answer = pages(authority, ":5000").answer(name, host)
    assert answer.status == 200
    assert answer.value("X-Content-Type-Options") == "nosniff"
    assert authority.fingerprint in text(answer)
    assert (host if name != "kubernetes" else host.replace("3128", "5000")) in text(answer)
    assert "PRIVATE" not in text(answer)
    assert "@{" not in text(answer)


@pytest.mark.parametrize(
    "name", ["", "x", "cloud-init/", "setup.sh", "cloud-init.yaml", "../ca.pem"]
)
def test_there_is_nothing_else(authority: Authority, name: str) -> None:
    """Another name is 404, and told which there are."""
    answer = pages(authority).answer(name, "cache:3128")
    assert answer.status == 404
    assert "/setup/cloud-init" in text(answer)


@pytest.mark.parametrize("name", [None, "ansible"])
@pytest.mark.parametrize("host", ["", "$(id)", "a'b", "a\nb", "x" * 300])
def test_a_host_that_is_none_is_refused(authority: Authority, name: str | None, host: str) -> None:
    """400, as an error of a registry's form, in which nothing of it is."""
    answer = pages(authority).answer(name, host)
    assert answer.status == 400
    (error,) = json.loads(text(answer))["errors"]
    assert error["message"] == "Host must name this proxy: HOST:PORT"


@pytest.mark.parametrize(
    ("mirror", "host", "named"),
    [
        (":5000", "cache:3128", "cache:5000"),
        ("0.0.0.0:5000", "cache:3128", "cache:5000"),
        ("[::]:5000", "[2001:db8::7]:3128", "[2001:db8::7]:5000"),
        ("10.0.0.7:5000", "cache:3128", "10.0.0.7:5000"),
        ("127.0.0.1:5000", "localhost:3128", "127.0.0.1:5000"),
        ("127.0.0.1:5000", "cache:3128", None),
        (":5000=ghcr.io", "cache:3128", None),
        (":0", "cache:3128", None),
        (None, "cache:3128", None),
    ],
)
def test_kubernetes_goes_by_a_mirror_of_all_registries(
    authority: Authority, mirror: str | None, host: str, named: str | None
) -> None:
    """Where there is one that this client can reach; else 404, with what to do."""
    answer = pages(authority, *([mirror] if mirror else [])).answer("kubernetes", host)
    assert answer.status == (200 if named else 404)
    assert (f'[host."http://{named}"]' if named else "--mirror :5000") in text(answer)
