"""No password, token or signed query reaches the log, the disk or an answer (promise 2, STYLE)."""

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from rig.client import Client, basic
from rig.corporate import CorporateProxy
from rig.faults import Content, FaultServer, Handler, redirect, status
from rig.images import ImageFactory
from rig.process import RigError, eventually
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

FAULT = "https://fault.example.test"
SIGNED = "https://fault-cdn.example.test/blob?sig=SIGNED-SECRET-1&X-Amz-Signature=SIGNED-SECRET-2"
BODY = b"a blob behind a signed address" * 100
PROXY_PASSWORD = "odd:/@secret"  # noqa: S105 the rig's


TOKENS, BASIC, HUB = "registry.example.test", "basic.example.test", "registry-1.docker.io"
ACCOUNTS = f"""
[registry."{TOKENS}"]
username = "alice"
password_file = "{{0}}/password"
[registry."{BASIC}"]
username = "eve"
password_env = "SECRET"
[registry."docker.io"]
username = "alice"
password = "wonderland"
"""
DOCKER_CONFIG = json.dumps(
    {
        "auths": {"fault.example.test": {"identitytoken": "identity-secret"}},
        "credHelpers": {"fault-cdn.example.test": "bad"},
    }
)


def shapes(secret: str) -> Iterator[bytes]:
    """A secret as it is, percent-encoded, and its base64 wherever it begins in a group of three."""
    plain = secret.encode()
    yield plain
    yield quote(secret, safe="").encode()
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + plain)
        yield encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]


def leaks(entrepot: Entrepot, secrets: Iterable[str]) -> list[str]:
    """Where a secret stands: the log, or any file below the data folder (databases included)."""
    files = [path for path in entrepot.data.rglob("*") if path.is_file()]
    places = {str(path): path.read_bytes() for path in files}
    places |= {f"the name {path}": str(path).encode() for path in files}
    places["the log"] = entrepot.log.encode()
    assert any(name.endswith("cache.db") for name in places)
    return [
        f"{shape!r} in {name}"
        for secret in secrets
        for shape in shapes(secret)
        for name, content in places.items()
        if shape in content
    ]


def pull(client: Client, url: str, authorization: str) -> None:
    """Pull an image whole and warm, by its manifest's URL."""
    headers = {"Authorization": authorization}
    for _ in range(2):
        manifest = client.manifest(url, headers)
        assert manifest.status == 200
        document = manifest.json()
        layers = document["layers"]
        assert isinstance(layers, list)
        for layer in layers:
            blob = f"{url.partition('/manifests/')[0]}/blobs/{layer['digest']}"
            assert client.get(blob, headers).status == 200


@pytest.fixture
def corporate(upstreams: Upstreams, faults: FaultServer) -> Iterator[CorporateProxy]:
    """A company's proxy with a password."""
    proxy = CorporateProxy([*upstreams.resolve, *faults.resolve], password=PROXY_PASSWORD)
    yield proxy
    proxy.stop()


def test_the_search_finds_what_it_looks_for(entrepot: Entrepot) -> None:
    """A secret that somebody did write is found, plain or inside longer base64."""
    for number, text in enumerate([b"x wonderland", base64.b64encode(b"alice:wonderland")]):
        file = entrepot.data / f"leak-{number}"
        file.write_bytes(text)
        assert leaks(entrepot, ["wonderland"])
        file.unlink()
    assert leaks(entrepot, ["wonderland"]) == []


def test_no_secret_of_a_private_pull_is_kept(
    entrepot: Entrepot, client: Client, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Promise 2: passwords and tokens, right and wrong, leave no trace, stopped or running."""
    secrets = ["wonderland", "wrong-password"]
    for host in ("registry.example.test", "basic.example.test"):
        upstreams.push(images.image("secrets"), f"{host}/private/secrets:1")
        url = f"https://{host}/v2/private/secrets/manifests/1"
        authorization = client.authorization(url, "alice", "wonderland")
        secrets.append(authorization.partition(" ")[2])
        pull(client, url, authorization)
        refused = client.manifest(url, {"Authorization": basic("eve", "wrong-password")})
        assert refused.status == 401
        assert b"wrong-password" not in refused.body
    secrets += [part for token in secrets for part in token.split(".") if len(part) > 40]
    assert leaks(entrepot, secrets) == []
    assert entrepot.terminate() == 0
    assert leaks(entrepot, secrets) == []


def test_no_secret_of_an_account_is_kept(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    images: ImageFactory,
    folder: Path,
    faults: FaultServer,
) -> None:
    """Passwords right and wrong, identity tokens, a helper that fails, the proxy's own password."""
    image, secrets = images.image("secrets"), ["wonderland", "wrong-secret", "identity-secret"]
    challenge = 'Bearer realm="https://fault.example.test/token"'
    faults.routes["/v2/app/manifests/1"] = status(401, headers={"WWW-Authenticate": challenge})
    basics = status(401, headers={"WWW-Authenticate": "Basic"})
    faults.routes["/v2/cdn/manifests/1"] = basics
    faults.routes["/token"] = status(403, b"identity-secret wrong-secret")
    for host in (TOKENS, BASIC, HUB):
        upstreams.push(image, f"{host}/private/secrets:1")
    (folder / "password").write_text("wonderland\n")
    files = {"accounts.toml": ACCOUNTS.format(folder), "config.json": DOCKER_CONFIG}
    for name, content in files.items():
        (folder / name).touch(0o600)
        (folder / name).write_text(content)
    helper = folder / "docker-credential-bad"
    helper.write_text("#!/bin/sh\necho wrong-secret; echo wrong-secret >&2; exit 1\n")
    helper.chmod(0o700)
    entrepot = start_entrepot(
        config=str(folder / "accounts.toml"),
        docker_config=str(folder / "config.json"),
        proxyauth="joe:joes-secret",
        env={"PATH": f"{folder}:/usr/bin:/bin", "SECRET": "wrong-secret"},
    )
    client = entrepot.client(proxy_authorization=basic("joe", "joes-secret"))
    answers = [
        client.manifest(f"https://{host}/v2/private/secrets/manifests/1") for host in (TOKENS, HUB)
    ]
    assert [answer.status for answer in answers] == [200, 200]
    for url in (
        f"https://{BASIC}/v2/private/secrets",
        f"{FAULT}/v2/app",
        "https://fault-cdn.example.test/v2/cdn",
    ):
        refused = client.manifest(f"{url}/manifests/1")
        assert refused.status == 401
        assert b"secret" not in refused.body.replace(b"private/secrets", b"")
    assert entrepot.counter("login_refused") == 2
    assert entrepot.counter("credential_helper_failed") == 1
    assert not any(secret.encode() in entrepot.local("/healthz").body for secret in secrets)
    assert leaks(entrepot, [*secrets, "joes-secret"]) == []
    assert entrepot.terminate() == 0
    assert leaks(entrepot, [*secrets, "joes-secret"]) == []


@pytest.mark.parametrize(
    "table",
    [
        'username = "a"\npassword = "wrong-secret"\npassword_file = "/wrong"',
        'password = "wrong-secret"',
        'username = "a"\npassword = ["wrong-secret"]',
        'username = "a"\npassword = "wrong-secret\\n"',
        'username = "a"\npassword = "wrong-secret"\nclients = "x"',
        'username = "a"\npassword = "wrong-secret',
    ],
)
def test_no_bad_account_is_quoted(
    start_entrepot: "StartEntrepot", folder: Path, table: str
) -> None:
    """Whatever is wrong with a table, the proxy ends with one line that has no password."""
    file = folder / "accounts.toml"
    file.touch(0o600)
    file.write_text(f'[registry."ghcr.io"]\n{table}\n')
    with pytest.raises(RigError) as raised:
        start_entrepot(config=str(file))
    assert "entrepot: " in str(raised.value)
    assert "wrong-secret" not in str(raised.value)


def test_no_secret_of_an_unknown_header_is_kept(
    entrepot: Entrepot, client: Client, faults: FaultServer
) -> None:
    """Promise 2: what is treated as a credential is hidden as one."""
    path, _ = faults.add_blob("app", BODY)
    secrets = {"PRIVATE-TOKEN": "header-secret", "Cookie": "session=cookie-secret"}
    assert client.get(FAULT + path, secrets).body == BODY
    assert client.get(f"{FAULT}/v2/app/manifests/gone", secrets).status == 404
    assert leaks(entrepot, ["header-secret", "cookie-secret"]) == []


def test_no_signed_address_is_kept(entrepot: Entrepot, client: Client, faults: FaultServer) -> None:
    """A redirect's signature is followed, and neither logged nor stored nor shown."""
    path, _ = faults.add_blob("app", BODY)
    faults.routes[path] = redirect(SIGNED)
    faults.routes["/blob"] = Content(BODY)
    assert client.get(FAULT + path).body == BODY
    assert faults.of(path="/blob")[0].query.startswith("sig=SIGNED-SECRET-1")
    eventually(lambda: " blob_stored " in entrepot.log, what="stored")
    assert leaks(entrepot, ["SIGNED-SECRET-1", "SIGNED-SECRET-2"]) == []


@pytest.mark.parametrize(
    "way", ["refused", "unreachable", "nameless", "broken", "elsewhere", "round"]
)
def test_no_error_shows_a_signed_address(
    entrepot: Entrepot, client: Client, faults: FaultServer, way: str
) -> None:
    """However a signed address fails, neither the answer nor the log quotes it."""
    path, _ = faults.add_blob("app", BODY)
    target = {
        "unreachable": SIGNED.replace("https://", "http://").replace(".test/", ".test:9/"),
        "nameless": SIGNED.replace("fault-cdn", "nowhere"),
        "elsewhere": SIGNED.replace("fault-cdn", "fault-cdn.bad name"),
    }.get(way, SIGNED)
    faults.routes[path] = redirect(target)
    handlers: dict[str, Handler] = {
        "refused": status(403, b"the signature is wrong"),
        "broken": Content(BODY, cut_after=0),
        "round": redirect(SIGNED),
    }
    faults.routes["/blob"] = handlers.get(way, status(404))
    answer = client.head(FAULT + path) if way == "broken" else client.get(FAULT + path)
    shown = answer.body + str(answer.headers).encode()
    if way != "elsewhere":  # a redirect that cannot be followed is upstream's answer as it came
        assert b"SIGNED-SECRET" not in shown
    assert answer.status != 200 or way == "broken"
    assert leaks(entrepot, ["SIGNED-SECRET-1", "SIGNED-SECRET-2"]) == []


def test_the_password_of_the_upstream_proxy_is_nowhere(
    start_entrepot: "StartEntrepot",
    upstreams: Upstreams,
    images: ImageFactory,
    corporate: CorporateProxy,
) -> None:
    """The corporate proxy's login is used, and neither logged, stored nor sent to a registry."""
    image = images.image("corporate")
    upstreams.push(image, "hub.example.test/corporate:1")
    entrepot = start_entrepot(upstream_proxy=corporate.url, resolve=())
    client, mark = entrepot.client(), upstreams.mark()
    assert client.get("https://hub.example.test/v2/").status == 200
    for _ in range(2):
        blob = client.get(f"https://hub.example.test/v2/corporate/blobs/{image.layers[0].digest}")
        assert blob.body == image.layers[0].read()
    assert corporate.targets
    assert corporate.refused == []
    assert all(not one.has_authorization for one in upstreams.requests(mark))
    assert leaks(entrepot, [PROXY_PASSWORD]) == []


def test_a_wrong_password_of_the_upstream_proxy_is_not_shown(
    start_entrepot: "StartEntrepot", corporate: CorporateProxy
) -> None:
    """Where the corporate proxy refuses, the error names neither login nor address in full."""
    wrong = corporate.url.replace(quote(PROXY_PASSWORD, safe=""), "wrong-secret")
    entrepot = start_entrepot(upstream_proxy=wrong, resolve=(), registry="registry.example.test")
    answer = entrepot.client().get("https://registry.example.test/v2/app/manifests/1")
    assert answer.status == 502
    assert b"wrong-secret" not in answer.body
    assert corporate.refused
    assert leaks(entrepot, ["wrong-secret", PROXY_PASSWORD]) == []
