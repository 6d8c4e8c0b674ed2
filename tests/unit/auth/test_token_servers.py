"""Token servers: whose they are, who asked them without credentials, what they gave out."""

import pytest

from entrepot.auth.token_servers import Realms, are_related
from entrepot.protocol.identifiers import Origin

HUB = Origin("https", "registry-1.docker.io", 443)


@pytest.mark.parametrize(
    ("registry", "server", "related"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io", True),
        ("https://ghcr.io", "https://ghcr.io", True),
        ("https://ghcr.io", "https://ghcr.io:8443", True),
        ("https://registry.example.test:5000", "https://auth.example.test", True),
        ("http://localhost:5000", "http://localhost:5001", True),
        ("http://localhost:5000", "https://localhost:5001", True),
        ("http://registry.example.test", "https://auth.example.test", True),
        ("https://10.0.0.1:5000", "https://10.0.0.1", True),
        ("https://registry.example.co.uk", "https://auth.example.co.uk", True),
        ("https://registry-1.docker.io", "http://auth.docker.io", False),
        ("https://ghcr.io", "http://ghcr.io", False),
        ("https://registry-1.docker.io", "https://auth.docker.io.evil.test", False),
        ("https://registry-1.docker.io", "https://evildocker.io", False),
        ("https://evil.test", "https://auth.docker.io", False),
        ("https://one.co.uk", "https://two.co.uk", False),
        ("https://one.github.io", "https://two.github.io", False),
        ("https://10.0.0.1", "https://10.0.0.2", False),
        ("https://10.0.0.1", "https://1.0.0.1", False),
        ("https://[::1]:5000", "https://[::2]:5000", False),
        ("https://localhost", "https://registry", False),
        ("https://io", "https://docker.io", False),
    ],
)
def test_a_token_server_belongs_to_its_host_or_registrable_domain(
    registry: str,
    server: str,
    related: bool,  # noqa: FBT001 a column of the table
) -> None:
    """A registry cannot have any other host looked into, nor https lead to plain http."""
    assert are_related(Origin.parse(registry), Origin.parse(server)) is related


def test_a_token_endpoint_knows_who_sends_there() -> None:
    """Every registry that named it, told apart by the service that it named."""
    realms, other = Realms(), Origin("https", "index.docker.io", 443)
    auth, realm = Origin("https", "auth.docker.io", 443), 'Bearer realm="https://auth.docker.io/t"'
    realms.challenged(HUB, [f'{realm},service="hub"'])
    realms.challenged(other, [realm])
    realms.challenged(Origin("https", "evil.test", 443), [f'{realm},service="hub"'])
    found = [realms.registries(auth, "/t", service) for service in (None, "hub", "", "x")]
    assert found == [{HUB, other}, {HUB}, {other}, set()]
    assert realms.registries(auth, "/", None) == realms.registries(HUB, "/t", None) == set()


def test_a_realm_is_learnt_from_a_challenge() -> None:
    """The token endpoint of the challenge is known afterwards, and nothing beside it."""
    realms, server = Realms(), Origin("https", "auth.docker.io", 443)
    challenge = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
    assert realms.challenged(HUB, [challenge]) == server
    assert realms.has(server, "/token")
    assert not realms.has(server, "/login")
    assert not realms.has(HUB, "/token")


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        'Basic realm="https://auth.docker.io/token"',
        'Bearer realm="https://evil.test/token"',
        'Bearer realm="http://auth.docker.io/token"',
        'Bearer realm="ftp://auth.docker.io/token"',
        'Bearer realm="auth.docker.io/token"',
        'Bearer realm="https://auth.docker.io:99999/token"',
        'Bearer realm="https://[::1/token"',
        'Bearer realm="https:///token"',
        'Bearer realm="https://auth.docker.io@evil.test/token"',
        "Bearer",
    ],
)
def test_a_challenge_that_names_no_server_of_the_registry_teaches_nothing(challenge: str) -> None:
    """Other hosts, other schemes and unreadable realms are left alone."""
    assert Realms().challenged(HUB, [challenge]) is None


def test_a_domain_that_names_ever_new_realms_loses_its_own() -> None:
    """The oldest of them; those of others stay, however many it names."""
    realms, server = Realms(), Origin("https", "auth.docker.io", 443)
    other = Origin("https", "registry.example.test", 443)
    realms.challenged(other, ['Bearer realm="https://auth.example.test/token"'])
    for number in range(1001):
        realms.challenged(HUB, [f'Bearer realm="https://auth.docker.io/{number}"'])
    assert not realms.has(server, "/900")
    assert realms.has(server, "/901")
    assert realms.has(server, "/1000")
    assert realms.has(Origin("https", "auth.example.test", 443), "/token")


def test_the_services_of_a_realm_are_bounded() -> None:
    """A registry that names ever new ones loses its own."""
    realms, server = Realms(), Origin("https", "auth.example.test", 443)
    header = 'Bearer realm="https://auth.example.test/token",service="{}"'
    mine, evil = (Origin("https", f"{name}.example.test", 443) for name in ("mine", "evil"))
    realms.challenged(mine, [header.format("mine")])
    for number in range(1000):
        realms.challenged(evil, [header.format(number)])
    assert realms.registries(server, "/token", "0") == set()
    assert realms.registries(server, "/token", "999") == {evil}


AUTH = Origin("https", "auth.docker.io", 443)
SENT = ['Bearer realm="https://auth.docker.io/token",service="hub"']


def test_who_was_sent_to_a_token_server_is_known_for_ten_minutes() -> None:
    """That client, by that registry, to that port."""
    realms = Realms()
    realms.challenged(HUB, SENT)
    realms.sent("10.0.0.5", HUB, SENT, 1000.0)
    assert realms.senders("10.0.0.5", AUTH, 1599.0) == [HUB]
    assert not realms.senders("10.0.0.5", AUTH, 1600.0)
    assert not realms.senders("10.0.0.6", AUTH, 1000.0)
    assert not realms.senders("10.0.0.5", Origin("https", "auth.docker.io", 8443), 1000.0)


@pytest.mark.parametrize(
    ("registry", "header"),
    [
        ("https://registry-1.docker.io", 'Bearer realm="https://auth.docker.io/other"'),
        ("https://registry-1.docker.io", 'Bearer realm="https://auth.docker.io/token"'),
        ("https://index.docker.io", SENT[0]),
        ("https://registry.example.test", SENT[0]),
        ("http://registry-1.docker.io", 'Bearer realm="http://auth.docker.io/token"'),
    ],
)
def test_a_realm_that_was_not_learnt_sends_nobody(registry: str, header: str) -> None:
    """Nor does one over plain http: who learnt it decides what may be in a client's own answer."""
    realms, origin = Realms(), Origin.parse(registry)
    realms.challenged(HUB, SENT)
    if origin.scheme == "http":
        assert realms.challenged(origin, [header]) is not None
    realms.sent("10.0.0.5", origin, [header], 1000.0)
    for scheme, port in (("https", 443), ("http", 80)):
        assert not realms.senders("10.0.0.5", Origin(scheme, "auth.docker.io", port), 1000.0)


def test_a_client_that_is_sent_everywhere_pushes_out_its_own() -> None:
    """Others were sent where they were sent; of many registries the last count."""
    realms = Realms()
    realms.challenged(HUB, SENT)
    realms.sent("10.0.0.6", HUB, SENT, 1000.0)
    for number in range(1000):
        registry = Origin("https", f"a{number}.example.test", 443)
        for server in ("auth", f"b{number}"):
            header = [f'Bearer realm="https://{server}.example.test/token"']
            realms.challenged(registry, header)
            realms.sent("10.0.0.5", registry, header, 1000.0)
    assert realms.senders("10.0.0.6", AUTH, 1000.0)
    assert not realms.senders("10.0.0.5", Origin("https", "b0.example.test", 443), 1000.0)
    shared = realms.senders("10.0.0.5", Origin("https", "auth.example.test", 443), 1000.0)
    assert 1 < len(shared) < 100
    assert shared[-1].host == "a999.example.test"
