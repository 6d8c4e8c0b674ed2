"""Clients without a login read as the account that is configured; nothing else is done as it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rig.client import Answer, Client, basic
from rig.faults import Content, Exchange, FaultServer, status
from rig.images import Image, ImageFactory
from rig.proxy import Entrepot
from rig.upstreams import Upstreams

if TYPE_CHECKING:
    from conftest import StartEntrepot

TOKENS, BASIC, HUB = "registry.example.test", "basic.example.test", "registry-1.docker.io"
FAULT = "https://fault.example.test"
ALICES = basic("alice", "wonderland")
ACCOUNT = "entrepot; hit; detail=account"
Configured = Callable[..., Entrepot]


def table(key: str, *, prefix: str = "", more: str = "") -> str:
    """The TOML table by which the proxy is alice at a registry, or in a part of it."""
    where = f'[registry."{key}"]\n{more}\n'
    if prefix:
        where += f'[registry."{key}".repository."{prefix}"]\n'
    return f'{where}username = "alice"\npassword = "wonderland"\n'


@pytest.fixture
def configured(start_entrepot: "StartEntrepot", folder: Path) -> Configured:
    """Start a proxy with this TOML file."""

    def start(*tables: str) -> Entrepot:
        file = folder / "accounts.toml"
        file.touch(0o600)
        file.write_text("\n".join(tables))
        return start_entrepot(config=str(file))

    return start


def pull(client: Client, image: Image, host: str, name: str, *login: str) -> list[Answer]:
    """As docker does: ping, a token where one is wanted, manifest, blobs."""
    ping = client.get(f"https://{host}/v2/")
    headers = {}
    if ping.status == 401:
        challenge = ping.headers["WWW-Authenticate"] + f',scope="repository:{name}:pull"'
        headers = {"Authorization": client.answer_to(challenge, *login)}
    base = f"https://{host}/v2/{name}"
    answers = [client.manifest(f"{base}/manifests/1", headers)]
    if answers[0].status == 200:
        answers += [client.get(f"{base}/blobs/{blob.digest}", headers) for blob in image.blobs]
    return answers


def is_whole(answers: list[Answer], image: Image) -> bool:
    wanted = [image.root.body, *(blob.read() for blob in image.blobs)]
    return [(a.status, a.body) for a in answers] == [(200, body) for body in wanted]


def test_who_has_no_login_pulls_as_the_account(
    configured: Configured, upstreams: Upstreams, images: ImageFactory
) -> None:
    """A private image, cold and warm: one token for all of it, and one HEAD when warm."""
    image = images.image("account")
    entrepot = configured(table(TOKENS), table(BASIC), table("docker.io"))
    client = entrepot.client()
    for number, host in enumerate((TOKENS, BASIC, HUB), 1):
        upstreams.push(image, f"{host}/private/account:1")
        mark = upstreams.mark()
        assert is_whole(pull(client, image, host, "private/account"), image)
        assert len(upstreams.requests(mark).of(kind="token")) == (host != BASIC)
        client.await_stored(number * len(image.blobs))
        mark = upstreams.mark()
        assert is_whole(pull(client, image, host, "private/account"), image)
        seen = upstreams.requests(mark)
        assert [(one.method, one.kind) for one in seen] == [("HEAD", "manifest")]


def test_a_login_of_ones_own_counts(
    configured: Configured, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Where the registry has tokens: who logs in asks as themselves, right or wrong."""
    image = images.image("account")
    upstreams.push(image, f"{TOKENS}/private/account:1")
    client = configured(table(TOKENS)).client()
    assert is_whole(pull(client, image, TOKENS, "private/account"), image)
    assert [a.status for a in pull(client, image, TOKENS, "private/account", "bob", "builder")] == [
        401
    ]
    with pytest.raises(ValueError, match="got 401 from"):
        pull(client, image, TOKENS, "private/account", "alice", "looking-glass")
    for wrong in (basic("alice", "looking-glass"), "Bearer x", "Basic"):
        url = f"https://{TOKENS}/v2/private/account/manifests/1"
        assert client.manifest(url, {"Authorization": wrong}).status in (400, 401)
        assert client.manifest(url, {"X-Token": wrong}).status == 401


def test_a_part_of_a_registry_has_an_account(
    configured: Configured, upstreams: Upstreams, images: ImageFactory
) -> None:
    """The rest is as without: what is public for anybody, what is private for who logs in."""
    image = images.image("account")
    for name in ("acme/app", "acmecorp/app", "public/app"):
        upstreams.push(image, f"{TOKENS}/{name}:1")
    client = configured(table(TOKENS, prefix="acme/")).client()
    assert is_whole(pull(client, image, TOKENS, "acme/app"), image)
    assert is_whole(pull(client, image, TOKENS, "public/app"), image)
    assert [answer.status for answer in pull(client, image, TOKENS, "acmecorp/app")] == [401]
    login = ("alice", "wonderland")
    assert is_whole(pull(client, image, TOKENS, "acmecorp/app", *login), image)


def test_only_the_named_clients_have_the_account(
    configured: Configured, upstreams: Upstreams, images: ImageFactory
) -> None:
    """For all others it is not there, whatever the cache holds."""
    image = images.image("account")
    for host in (TOKENS, BASIC):
        upstreams.push(image, f"{host}/private/account:1")
    more = 'clients = ["127.0.0.7"]'
    entrepot = configured(table(TOKENS, more=more), table(BASIC, more=more))
    inside, outside = entrepot.client(source="127.0.0.7"), entrepot.client()
    for host in (TOKENS, BASIC):
        assert is_whole(pull(inside, image, host, "private/account"), image)
        ping = outside.get(f"https://{host}/v2/")
        assert ping.status == 401
        digest = image.layers[0].digest
        for path in ("manifests/1", f"manifests/{image.digest}", f"blobs/{digest}"):
            url = f"https://{host}/v2/private/account/{path}"
            for fields in ({}, {"Account": "alice"}):
                assert outside.get(url, fields).status == 401
    refused = pull(outside, image, TOKENS, "private/account")
    assert [answer.status for answer in refused] == [401]


def test_lists_are_read_as_the_account(
    configured: Configured, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Tags and referrers, as upstream has them."""
    client = configured(table(TOKENS), table(BASIC)).client()
    for host in (TOKENS, BASIC):
        upstreams.push(images.image("account"), f"{host}/private/lists:1")
        answer = client.get(f"https://{host}/v2/private/lists/tags/list?n=5")
        assert (answer.status, answer.json()) == (200, {"name": "private/lists", "tags": ["1"]})
        assert answer.cache_status == "entrepot; fwd=bypass; detail=tags"
        mark = upstreams.mark()
        # This registry knows no referrers.
        url = f"https://{host}/v2/private/lists/referrers/{images.image('account').digest}"
        assert client.get(url).status == 404
        assert upstreams.requests(mark).of(host=host)


NOT_READING = [
    ("GET", "_catalog"),
    ("POST", "private/account/blobs/uploads/"),
    ("PUT", "private/account/manifests/1"),
    ("DELETE", "private/account/manifests/1"),
    ("DELETE", "private/account/manifests/{digest}"),
    ("GET", "private/account/blobs/uploads/x"),
    ("GET", "private/account/manifests/1?x=y"),
    ("GET", "private/account/unknown"),
    ("GET", "private/account/blobs/./{digest}"),
]


def test_nothing_else_is_done_as_the_account(
    configured: Configured, upstreams: Upstreams, images: ImageFactory
) -> None:
    """Writing, listing a registry, and what is not understood: as nobody, token of ours or not."""
    image = images.image("account")
    client = configured(table(TOKENS), table(BASIC)).client()
    for host in (TOKENS, BASIC):
        upstreams.push(image, f"{host}/private/account:1")
        assert client.manifest(f"https://{host}/v2/private/account/manifests/1").status == 200
        mark = upstreams.mark()
        for method, path in NOT_READING:
            url = f"https://{host}/v2/{path.replace('{digest}', image.digest)}"
            body = b"{}" if method == "PUT" else None
            for fields in ({}, {"Authorization": ours(client)}):
                answer = client.request(method, url, fields, body)
                assert answer.status in (301, 400, 401, 404, 405), (method, url)
        seen = upstreams.requests(mark).of(host=host)
        assert len(seen) >= 2 * len(NOT_READING)
        assert not any(one.has_authorization for one in seen)


def ours(client: Client) -> str:
    """What the proxy gives to who asks for a token to pull with."""
    challenge = client.get(f"https://{TOKENS}/v2/").headers["WWW-Authenticate"]
    return client.answer_to(f'{challenge},scope="repository:private/account:pull"')


SCOPES = [
    ((), True),
    (("repository:private/account:pull",), True),
    (("repository:a/b:pull", "repository:c:pull"), True),
    (("repository:a/b:pull repository:c:pull",), True),
    (("repository:private/account:pull,push",), False),
    (("repository:private/account:push",), False),
    (("repository:a/b:pull", "repository:c:push"), False),
    (("registry:catalog:*",), False),
    (("repository:a/b:*",), False),
    (("repository(plugin):a/b:pull",), False),
    (("repository::pull",), False),
    (("pull",), False),
    (("repository:-a:pull",), False),
]


def test_which_token_requests_are_answered_here(configured: Configured) -> None:
    """Those to pull, of who shows nothing; a push goes to the token server as ever."""
    client = configured(table(TOKENS)).client()
    client.get(f"https://{TOKENS}/v2/")
    for scopes, is_ours in SCOPES:
        query = "&".join(["service=registry.example.test", *(f"scope={s}" for s in scopes)])
        url = f"https://auth.example.test/token?{query.replace(' ', '%20')}"
        answer = client.get(url)
        assert answer.status == 200
        assert (answer.cache_status == ACCOUNT) == is_ours, scopes
        own = client.get(url, {"Authorization": ALICES})
        assert (own.status, own.cache_status) == (200, "entrepot; fwd=bypass; detail=token")
    assert client.get(url, {"Authorization": basic("alice", "x")}).status == 401
    other = url.partition("?")[0] + "?service=other.example.test&scope=repository:a/b:pull"
    assert client.get(other).cache_status != ACCOUNT


def test_a_wrong_account_is_as_none(
    configured: Configured, upstreams: Upstreams, images: ImageFactory
) -> None:
    """What is public goes on; what is not is refused in upstream's words, and the log says why."""
    image = images.image("account")
    for name in ("private/account", "public/account"):
        upstreams.push(image, f"{TOKENS}/{name}:1")
    entrepot = configured(table(TOKENS).replace("wonderland", "looking-glass"))
    client = entrepot.client()
    assert is_whole(pull(client, image, TOKENS, "public/account"), image)
    refused = pull(client, image, TOKENS, "private/account")
    assert [answer.status for answer in refused] == [401]
    assert b"UNAUTHORIZED" in refused[0].body
    assert refused[0].headers["WWW-Authenticate"].startswith("Bearer realm=")
    assert "login_refused host=https://auth.example.test account=alice" in entrepot.log
    assert "looking-glass" not in entrepot.log


def test_a_login_that_ends_is_renewed(
    start_entrepot: "StartEntrepot",
    folder: Path,
    faults: FaultServer,
) -> None:
    """A password file that changes counts from the next refusal on, without a restart."""
    secret, taken = folder / "secret", ["first"]
    secret.write_text("first\n")
    file = folder / "accounts.toml"
    file.write_text(
        f'[registry."fault.example.test"]\nusername = "robot"\npassword_file = "{secret}"\n'
    )
    content = Content(b"x" * 1000)

    def guarded(exchange: Exchange) -> None:
        good = exchange.request.authorization == basic("robot", taken[0])
        challenge = status(401, headers={"WWW-Authenticate": "Basic"})
        (content if good else challenge)(exchange)

    path, _ = faults.add_blob("app", b"x" * 1000)
    faults.routes[path] = guarded
    entrepot = start_entrepot(config=str(file))
    client = entrepot.client()
    assert client.get(FAULT + path).status == 200
    assert "password_readable" in entrepot.log  # by others
    other, _ = faults.add_blob("app", b"x" * 1000 + b"y")
    faults.routes[other] = guarded
    content.body += b"y"
    secret.write_text("second\n")
    taken[0] = "second"
    assert client.get(FAULT + other).status == 200


def test_the_logins_of_docker_are_used(
    start_entrepot: "StartEntrepot", folder: Path, upstreams: Upstreams, images: ImageFactory
) -> None:
    """From config.json: one that it holds, and one of a credential helper."""
    image = images.image("account")
    for host in (BASIC, HUB):
        upstreams.push(image, f"{host}/private/account:1")
    helper = folder / "docker-credential-rig"
    helper.write_text(
        '#!/bin/sh\nread server\n[ "$server" = https://index.docker.io/v1/ ] || exit 1\n'
        'echo \'{"Username": "alice", "Secret": "wonderland"}\'\n'
    )
    helper.chmod(0o700)
    file = folder / "config.json"
    file.touch(0o600)
    held = {BASIC: {"auth": ALICES.removeprefix("Basic ")}}
    helpers = {"https://index.docker.io/v1/": "rig", TOKENS: "none"}
    file.write_text(json.dumps({"auths": held, "credHelpers": helpers}))
    env = {"PATH": f"{folder}:/usr/bin:/bin"}
    entrepot = start_entrepot(docker_config=str(file), env=env)
    for host in (BASIC, HUB):
        assert is_whole(pull(entrepot.client(), image, host, "private/account"), image)
    upstreams.push(image, f"{TOKENS}/public/account:1")
    assert is_whole(pull(entrepot.client(), image, TOKENS, "public/account"), image)
    assert "helper=docker-credential-none" in entrepot.log


@pytest.mark.parametrize("restarted", [False, True])
def test_what_an_account_was_given_is_served_while_its_registry_is_away(
    configured: Configured,
    upstreams: Upstreams,
    images: ImageFactory,
    restarted: bool,  # noqa: FBT001
) -> None:
    """For the account's clients alone; a restart, which forgets decisions, changes nothing."""
    image = images.image("account")
    upstreams.push(image, f"{TOKENS}/private/account:1")
    entrepot = configured(table(TOKENS, more='clients = ["127.0.0.7"]'))
    client = entrepot.client(source="127.0.0.7")
    assert is_whole(pull(client, image, TOKENS, "private/account"), image)
    entrepot.await_stored(blob.digest for blob in image.blobs)
    with upstreams.down():
        if restarted:
            entrepot.restart()
            client = entrepot.client(source="127.0.0.7")
        answers = pull(client, image, TOKENS, "private/account")
        assert is_whole(answers, image)
        assert answers[0].cache_status == "entrepot; hit; detail=stale"
        outside = entrepot.client().manifest(f"https://{TOKENS}/v2/private/account/manifests/1")
        assert outside.status in (502, 503)  # the latter where that is known by now


@pytest.mark.parametrize("code", [401, 403])
def test_what_an_account_was_refused_since_is_not_served(
    configured: Configured, faults: FaultServer, images: ImageFactory, code: int
) -> None:
    """Promise 5: a refusal to the account ends what it was given, for the time of an outage too."""
    faults.publish(images.image("account"), "app", "1")
    client = configured(table("fault.example.test")).client()
    url = f"{FAULT}/v2/app/manifests/1"
    assert client.manifest(url).status == 200
    faults.routes["/v2/app/manifests/1"] = status(code)
    assert client.manifest(url).status == code
    faults.routes["/v2/app/manifests/1"] = status(503)
    assert client.manifest(url).status == 503
