"""The foundation of a proxy: what is on disk or read from there, opened before it listens.

The data folder with its store, the local authority, the roots that upstream is verified by, and the
accounts that registries are asked as.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from entrepot.app.authority_in_use import Standing, log_change
from entrepot.app.clock import steady
from entrepot.app.process_limits import set_limits
from entrepot.app.self_proxy_check import without_loops
from entrepot.app.start_error import StartError
from entrepot.auth.accounts import Accounts
from entrepot.auth.credential_helper import CredentialHelper
from entrepot.auth.docker_config import DockerConfig, read_docker_config
from entrepot.config.registry_tables import exposed_files
from entrepot.config.settings import Config
from entrepot.events.log import Events, log_to_stderr
from entrepot.events.table import Event
from entrepot.http_client.connect.trust_store import Roots
from entrepot.storage.errors import StoreError, storage_reason
from entrepot.storage.store import Store
from entrepot_ca import AuthorityError, Rotation, advance, ensure


@dataclass(frozen=True, slots=True)
class Foundation:
    """What a proxy stands on, made before its event loop runs."""

    config: Config
    events: Events
    store: Store
    standing: Standing
    """The authority and its rotation, as the folder had it."""
    roots: Roots
    bundle: Path
    """A file of all roots, for mitmproxy's own connections."""
    accounts: Accounts

    @classmethod
    def lay(cls, config: Config) -> Self:
        """Open or create it all. Raises :class:`StartError`."""
        set_limits()
        events = Events()
        log_to_stderr(config.log_format)
        config = without_loops(config, events)
        try:
            roots = Roots.find(config.upstream_ca)
            store = Store(config.data, config.size, events=events)
            standing = _find_authority(config, events)
            bundle = config.data / "upstream-ca.pem"
            bundle.write_bytes(roots.pem())
            accounts = _find_accounts(config, events)
        except OSError as error:
            raise StartError(f"cannot start: {storage_reason(error)}") from error
        except (ValueError, StoreError, AuthorityError) as error:
            raise StartError(str(error)) from error
        return cls(config, events, store, standing, roots, bundle, accounts)


def _find_authority(config: Config, events: Events) -> Standing:
    """Open the authority or make one, once what is due of a rotation is done."""
    folder, now = config.data / "ca", datetime.now(UTC)
    before: Rotation | None = None
    rotation: Rotation | None = None
    try:
        before = Rotation.read(folder)
        rotation = advance(folder, now)
    except (AuthorityError, OSError) as error:
        events.log(Event.ROTATION_FAILED, reason=error)
    also = None
    if rotation is not None:
        other = rotation.predecessor if rotation.switched else rotation.successor
        also = other.constraints
    authority, _ = ensure(folder, permit=config.permit, now=now, also=also)
    standing = Standing(authority, rotation)
    if before != rotation:
        log_change(events, before, standing, None)
    return standing


def _find_accounts(config: Config, events: Events) -> Accounts:
    """The accounts of the settings, and those of docker's config.json. Raises ValueError."""
    for file in exposed_files(config.accounts):
        events.log(
            Event.PASSWORD_READABLE,
            file=file,
            reason="others can read it",
            hint=f"chmod 600 {file}",
        )

    def make_helper(name: str, server: str) -> CredentialHelper:
        return CredentialHelper(name, server, events, steady)

    docker = DockerConfig()
    if config.docker_config is not None:
        docker = read_docker_config(config.docker_config, make_helper)
    for key in docker.skipped:
        events.log(Event.DOCKER_CONFIG_SKIPPED, file=config.docker_config, key=key)
    return Accounts(config.accounts, docker.found)
