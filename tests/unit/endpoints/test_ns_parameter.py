"""Which registry a request to a mirror names, and how its next page is asked for."""

import pytest

from entrepot.config.mirror_spec import name_of, parse_registry
from entrepot.endpoints.ns_parameter import namespaces, registry_named, relinked, split_path
from entrepot.protocol.identifiers import Origin

HUB = Origin("https", "registry-1.docker.io", 443)
PLAIN = Origin("http", "plain.example.test", 5000)


@pytest.mark.parametrize(
    ("name", "registry"),
    [
        ("docker.io", HUB),
        ("index.docker.io", HUB),
        ("registry-1.docker.io", HUB),
        ("Docker.IO", HUB),
        ("docker.io:5000", Origin("https", "docker.io", 5000)),
        ("ghcr.io:443", Origin("https", "ghcr.io", 443)),
        ("git.example.com:8443", Origin("https", "git.example.com", 8443)),
        ("plain.example.test:5000", PLAIN),  # as the administrator has it
        ("plain.example.test", Origin("https", "plain.example.test", 443)),
    ],
)
def test_a_registry_is_named_by_its_host(name: str, registry: Origin) -> None:
    """https, unless the administrator named that host with http."""
    assert registry_named(name, {PLAIN}) == registry


@pytest.mark.parametrize("name", ["", "http://plain.example.test:5000", "a/b", "a b", "127.1"])
def test_a_client_may_name_nothing_but_a_host(name: str) -> None:
    """Above all no scheme: a client must not have verification left out."""
    with pytest.raises(ValueError, match="expected"):
        registry_named(name, {PLAIN})


@pytest.mark.parametrize(
    ("registry", "name"),
    [
        ("docker.io", "docker.io"),
        ("ghcr.io", "ghcr.io"),
        ("git.example.com:8443", "git.example.com:8443"),
        ("http://plain.example.test:5000", "plain.example.test:5000"),
        ("http://plain.example.test", "plain.example.test"),
        ("[fd00::1]:5000", "[fd00::1]:5000"),
    ],
)
def test_a_registry_has_the_name_that_leads_to_it(registry: str, name: str) -> None:
    origin = parse_registry(registry)
    assert name_of(origin) == name
    assert registry_named(name, {origin}) == origin


@pytest.mark.parametrize(
    ("query", "named", "rest"),
    [
        ("", [], ""),
        ("n=2&last=a%2Fb", [], "n=2&last=a%2Fb"),
        ("ns=docker.io", ["docker.io"], ""),
        ("n=2&ns=ports.example.test%3A5443", ["ports.example.test:5443"], "n=2"),
        ("ns=a&ns=b", ["a", "b"], ""),
        ("ns=", [""], ""),
        ("ns", [""], ""),
    ],
)
def test_the_namespace_is_taken_out_of_the_query(query: str, named: list[str], rest: str) -> None:
    assert namespaces(query) == (named, rest)


def test_a_query_of_many_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="fields"):
        namespaces("&".join(["ns=a"] * 100))


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/v2/docker.io/library/x/tags/list", ("docker.io", "/v2/library/x/tags/list")),
        ("/v2/localhost/x/tags/list", ("localhost", "/v2/x/tags/list")),
        ("/v2/a:5000/x/tags/list", ("a:5000", "/v2/x/tags/list")),
        ("/v2/library/x/tags/list", None),
        ("/v2/docker.io", None),
        ("/v2/", None),
        ("/v2//docker.io/x", None),
    ],
)
def test_a_host_may_come_first_in_a_path(path: str, parts: tuple[str, str] | None) -> None:
    assert split_path(path) == parts


PATH = "/v2/app/referrers/sha256:0"


@pytest.mark.parametrize(
    ("link", "namespace", "given"),
    [
        ('</v2/app/referrers/x?last=1>; rel="next"', None, f'<{PATH}?last=1>; rel="next"'),
        ('</v2/y?last=1>; rel="next"', "a:1", f'<{PATH}?last=1&ns=a%3A1>; rel="next"'),
        ('<https://r.example.test/v2/y>; rel="next"', None, f'<{PATH}>; rel="next"'),
        ("what is this", "a:1", "what is this"),
    ],
)
def test_the_next_page_is_asked_for_at_the_mirror(
    link: str, namespace: str | None, given: str
) -> None:
    assert relinked(link, PATH, namespace) == given
