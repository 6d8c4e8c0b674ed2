"""mitmproxy's own options: those that the promises need, and those that would break one."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from entrepot.config.addresses import Listen
from entrepot.config.mirror_spec import Mirror
from entrepot.config.options import OPTIONS
from entrepot.config.settings import Config, ConfigError
from entrepot.endpoints.login_requests import LARGEST_FORM

NEEDED: Mapping[str, Any] = {
    "connection_strategy": "lazy",  # a hit must not open a connection
    "http2": False,  # its pure-Python layer buffers a stalled client's body without bound
    "http3": False,
    "onboarding": False,
    "websocket": False,  # it would keep every message; what follows a 101 is a blind tunnel
    "upstream_cert": False,  # mirrored names would break a constrained authority
    "keep_host_header": True,  # by which name a mirror's client knows it
    "flow_detail": 0,  # no URL with a signature or upload state on the terminal
    "termlog_verbosity": "warn",
    "stream_large_bodies": str(LARGEST_FORM),  # belt and braces: nothing else is held whole
}
"""What is set, whatever it was."""

_MIRROR = "reverse:http://entrepot-mirror-"

_REFUSED: Mapping[str, tuple[Any, str]] = {
    "ssl_insecure": (True, "content of a forged upstream would be cached"),
    "validate_inbound_headers": (False, "smuggled requests would get through"),
    "store_streamed_bodies": (True, "bodies would be held whole in memory"),
    "stickyauth": (str, "one client's credentials would be sent for another"),
    "stickycookie": (str, "one client's credentials would be sent for another"),
    "save_stream_file": (str, "credentials would be written to disk"),
    "hardump": (str, "credentials would be written to disk"),
    "emudhra": (True, "clients would be shown another authority's certificates"),  # since 12.3
    "emudhra_old": (True, "clients would be shown another authority's certificates"),
    "upstream_auth": (str, "it would go to registries too; see entrepot_upstream_proxy"),
}


def needed(config: Config, current: Any) -> dict[str, Any]:
    """What to set for ``config``; ``current`` are mitmproxy's options, which say what exists.

    The listen address goes into the mode: a change of ``listen_port`` does not move a server
    that already runs, and mitmproxy loads a script only after it has started one.
    """
    values = {name: value for name, value in NEEDED.items() if name in current}
    if config.proxyauth is not None:
        values["proxyauth"] = config.proxyauth
    values["mode"] = list(modes(config, current))
    return values


def modes(config: Config, current: Any) -> dict[str, Listen | Mirror]:
    """What mitmproxy calls each listener, with where an option of ours wants it."""
    mode = "regular"
    if config.upstream_proxy is not None:
        # Its credentials are sent by hooks.upstream_proxy; mitmproxy would show them to registries.
        mode = f"upstream:{config.upstream_proxy.url}"
    named: dict[str, Listen | Mirror] = {f"{mode}@{_listen(config, current)}": config.listen}
    if config.transparent is not None:
        named[f"transparent@{_at(config.transparent)}"] = config.transparent
    return named | mirror_modes(config.mirror)


def mirror_modes(mirrors: Sequence[Mirror]) -> dict[str, Mirror]:
    """What mitmproxy calls the listener of each mirror: a reverse proxy of nobody."""
    return {
        f"{_MIRROR}{number}.invalid@{_at(mirror)}": mirror for number, mirror in enumerate(mirrors)
    }


def _listen(config: Config, current: Any) -> str:
    """Where to listen: as ours say, else as mitmproxy's own options do, else our default."""
    port = current.listen_port
    if port is not None and current.entrepot_listen is None:
        return f"{current.listen_host}:{port}" if current.listen_host else str(port)
    return _at(config.listen)


def _at(place: Listen | Mirror) -> str:
    return f"{place.host}:{place.port}" if place.host else str(place.port)


def trusted_roots(bundle: Path, folder: Path | None) -> dict[str, Any]:
    """The options that make mitmproxy's own connections trust what ours trust."""
    values: dict[str, Any] = {"ssl_verify_upstream_trusted_ca": str(bundle)}
    if folder is not None:
        values["ssl_verify_upstream_trusted_confdir"] = str(folder)
    return values


def check(options: Any, config: Config | None = None) -> None:
    """Raise ConfigError where an option would break a promise.

    ``config`` is what the proxy runs with: what ``needed`` sets for it is not refused.
    """
    for name, (bad, why) in _REFUSED.items():
        value = getattr(options, name, None)
        if value == bad or (bad is str and value):
            shown = "..." if name == "upstream_auth" else repr(value)
            raise ConfigError(f"refusing to start with {name}={shown}: {why}")
    ours = ["regular", "upstream"]
    if config is not None and config.transparent is not None:
        ours.append("transparent")
    for mode in options.mode:
        if mode.partition(":")[0].partition("@")[0] not in ours and not mode.startswith(_MIRROR):
            raise ConfigError(
                f"refusing to start with mode={mode!r}: want regular; a corporate proxy is set by "
                "entrepot_upstream_proxy, a port for redirected clients by entrepot_transparent, "
                "mirrors by entrepot_mirror"
            )


def add_to(loader: Any) -> None:
    """Add every option of ours to mitmproxy's, under the prefix ``entrepot_``."""
    for option in OPTIONS:
        kinds: dict[str, tuple[Any, Any]] = {
            "str": (str | None, None),
            "repeatable": (Sequence[str], []),
            "flag": (bool, False),
        }
        kind, default = kinds[option.kind]
        loader.add_option(option.mitmproxy, kind, default, option.help)


def misset(deferred: Mapping[str, Any]) -> list[str]:
    """What is wrong with those of our options that were set on mitmproxy's command line.

    mitmproxy takes a name that it does not know for one that may come yet, and drops the whole
    addon for a value too many, both without a word: the proxy would go on without the cache.
    """
    known = {option.mitmproxy: option for option in OPTIONS}
    problems = []
    for name, value in deferred.items():
        if name.startswith("entrepot_") and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1) or sorted(known)
            problems.append(f"unknown option {name!r}, did you mean {' or '.join(nearest)!r}?")
        elif name in _REFUSED:
            # This mitmproxy has no such option; it must not be dangerous with the next one.
            problems.append(f"refusing to start with {name}: {_REFUSED[name][1]}")
        elif name in known and known[name].kind != "repeatable" and len(_values(value)) > 1:
            problems.append(f"{name} was set {len(_values(value))} times, want one value")
    return problems


def _values(deferred: Any) -> list[str]:
    """The texts that mitmproxy keeps of a deferred option."""
    return list(getattr(deferred, "val", ()))


def given(options: Any) -> dict[str, Any]:
    """Our options as they were set among mitmproxy's; unset ones are absent."""
    values = {option.name: getattr(options, option.mitmproxy) for option in OPTIONS}
    return {name: value for name, value in values.items() if value not in (None, False, [], ())}
