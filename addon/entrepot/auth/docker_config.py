"""The logins in docker's ``config.json`` (docker login, podman login), and its credential helpers.

| key | what of it counts |
| --- | --- |
| ``auths`` | ``auth`` (base64 of ``user:password``), ``identitytoken``, ``registrytoken`` |
| ``credHelpers`` | a helper for one registry |
| ``credsStore`` | a helper for the registries that ``auths`` names (docker names each there) |

A registry is named by its host, by an URL (Docker Hub is ``https://index.docker.io/v1/``) or, in
podman's files, by the beginning of a repository (``quay.io/acme``). What cannot be read is left
out and told, without quoting any of it but its key.
"""

import base64
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from entrepot.auth.accounts import Found
from entrepot.config.registry_tables import (
    Prefix,
    is_exposed,
    read_key,
)
from entrepot.protocol.account import Account, Login, LoginKind, LoginSource
from entrepot.protocol.identifiers import is_repository_name
from entrepot.protocol.quirks import HUB_NAME, is_hub_name

MakeHelper: TypeAlias = Callable[[str, str], LoginSource]
"""Makes the source of a helper's logins, of its name and a server's; ValueError for a bad name."""

_LARGEST = 1024 * 1024
_API_PATHS = frozenset({"", "v1", "v2"})


@dataclass(slots=True)
class DockerConfig:
    """What was found, and the keys of what could not be used."""

    found: list[Found] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def read_docker_config(file: Path, make_helper: MakeHelper) -> DockerConfig:
    """Read a file. Raises ValueError where it cannot be used at all, or others could read it."""
    try:
        with file.open("rb") as opened:
            exposed = is_exposed(os.fstat(opened.fileno()))
            document = json.loads(opened.read(_LARGEST))
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{file} is not a JSON file") from None
    auths, helpers = _object(document, "auths", file), _object(document, "credHelpers", file)
    store = document.get("credsStore") or None
    config = DockerConfig()
    for key in dict.fromkeys((*helpers, *auths)):
        entry, helper = auths.get(key), helpers.get(key, store)
        try:
            account = _helped(key, helper, make_helper) if helper is not None else _held(entry)
            if account is not None:
                config.found += _places(key, account)
        except (ValueError, TypeError, AttributeError):
            config.skipped.append(key)
            continue
        if exposed and account is not None and helper is None:
            raise ValueError(f"{file} holds logins and others can read it (chmod 600)")
    return config


def _object(document: Any, name: str, file: Path) -> Mapping[str, Any]:
    value = document.get(name) or {} if isinstance(document, dict) else None
    if not isinstance(value, dict):
        raise ValueError(f"{file} is not a docker config: {name} is no object")  # noqa: TRY004 it was read
    return value


def _helped(key: str, helper: Any, make_helper: MakeHelper) -> Account:
    if not isinstance(helper, str):
        raise ValueError("expected a helper's name")  # noqa: TRY004 it is a text that was read
    return Account(f"docker-credential-{helper}", source=make_helper(helper, key))


def _held(entry: Any) -> Account | None:
    """The account that an entry of ``auths`` holds; None where it is empty."""
    username, _, password = _decoded(entry.get("auth") or "")
    identity, token = entry.get("identitytoken") or "", entry.get("registrytoken") or ""
    if identity:
        login = Login(username, _printable(identity), LoginKind.IDENTITY)
    elif token:
        login = Login(username, _printable(token), LoginKind.BEARER)
    elif username and password:
        login = Login(username, password)
    elif entry.get("auth"):
        raise ValueError("expected base64 of user:password")
    else:
        return None
    return Account(login.username or "token", source=lambda _refused: login)


def _decoded(auth: str) -> tuple[str, str, str]:
    text = base64.b64decode(auth, validate=True).decode()
    return text.rstrip("\0").partition(":")


def _printable(token: str) -> str:
    if not (token.isascii() and token.isprintable()):
        raise ValueError("expected a token")
    return token


def _places(key: str, account: Account) -> list[Found]:
    """Where an account counts that stands under a key."""
    scheme, mark, rest = key.rpartition("://")
    if scheme not in ("", "https", "http"):
        raise ValueError("expected a host or an http URL")
    host, _, path = rest.partition("/")
    prefix: Prefix = ()
    if path.strip("/") not in _API_PATHS and not mark:
        if not is_repository_name(path):
            raise ValueError("expected the beginning of a repository's name")
        prefix = tuple(path.split("/"))
    if is_hub_name(host):
        host = HUB_NAME
    origins, _ = read_key(host)
    return [Found(origin, prefix, account) for origin in origins]
