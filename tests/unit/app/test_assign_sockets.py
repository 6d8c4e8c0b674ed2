"""Which option a socket of systemd's belongs to: that of its port, and none that says less."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from entrepot.app.socket_activation import Handed, assign_sockets
from entrepot.app.start_error import StartError
from entrepot.config.addresses import Listen
from entrepot.config.mirror_spec import Mirror
from entrepot.config.settings import Config
from rig.activation import listening
from rig.ports import free_port


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def handed(stack: ExitStack, address: str, port: int) -> Handed:
    return Handed(stack.enter_context(listening(address, port)), "cache.socket")


def config(listen: Listen, *mirrors: Mirror, transparent: Listen | None = None) -> Config:
    return Config(data=Path("data"), listen=listen, mirror=mirrors, transparent=transparent)


@pytest.mark.parametrize("host", ["", "127.0.0.1", "localhost"])
def test_a_socket_goes_to_the_option_that_it_is_within(opened: ExitStack, host: str) -> None:
    """The option of its address, by whatever name, or of every address."""
    listen = Listen(host, free_port())
    one = handed(opened, "127.0.0.1", listen.port)
    assert assign_sockets(config(listen), [one]) == {listen: (one.socket,)}


def test_every_address_is_a_socket_of_each_family(opened: ExitStack) -> None:
    """As systemd makes them for two lines of ListenStream=."""
    port = free_port()
    both = [handed(opened, address, port) for address in ("0.0.0.0", "::")]  # noqa: S104
    listen = Listen("", port)
    assert assign_sockets(config(listen), both) == {listen: tuple(one.socket for one in both)}


def test_the_port_tells_the_options_apart(opened: ExitStack) -> None:
    """In whatever order they come; what has no socket is left out."""
    first, second, own = (free_port() for _ in range(3))
    listen, transparent = Listen("127.0.0.1", first), Listen("", own)
    mirror = Mirror("127.0.0.1", second)
    sockets = [handed(opened, "127.0.0.1", port) for port in (second, first)]
    assigned = assign_sockets(config(listen, mirror, transparent=transparent), sockets)
    assert assigned == {mirror: (sockets[0].socket,), listen: (sockets[1].socket,)}


def test_the_address_tells_options_of_one_port_apart(opened: ExitStack) -> None:
    port = free_port()
    listen, mirror = Listen("127.0.0.1", port), Mirror("127.0.0.2", port)
    one = handed(opened, "127.0.0.2", port)
    assert assign_sockets(config(listen, mirror), [one]) == {mirror: (one.socket,)}


@pytest.mark.parametrize("host", ["127.0.0.2", "::1", "nowhere.invalid"])
def test_a_socket_for_another_address_is_refused(opened: ExitStack, host: str) -> None:
    """Nobody would accept what waits there; the line names both."""
    port = free_port()
    one = handed(opened, "127.0.0.1", port)
    with pytest.raises(StartError, match=rf"127\.0\.0\.1:{port} \(of cache\.socket\).*another"):
        assign_sockets(config(Listen(host, port)), [one])


def test_no_sockets_are_no_error() -> None:
    assert assign_sockets(config(Listen("", 3128)), []) == {}
