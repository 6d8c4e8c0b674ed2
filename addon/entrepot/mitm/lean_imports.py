"""mitmproxy imported without what a cache has no use for, which was most of a start.

mitmproxy's package of add-ons imports all of them as soon as one is wanted, with a web framework,
an LDAP client, filters and contents' views: 0.3 of 0.8 s of CPU (measured). Here the package is
registered by its path alone, so that each add-on is imported by itself. ``mitmdump`` has imported
it before us, and is left as it is.

This relies on no more than that an add-on finds what it needs by its own imports;
``tests/wire/test_start.py`` fails loudly where that is no longer so.
"""

import importlib.util
import sys
from importlib.abc import Loader
from types import ModuleType

_ADDONS = "mitmproxy.addons"

_LATE = (
    "service_identity",  # of aioquic: who the server of a QUIC connection is
    "ruamel.yaml",  # of mitmproxy's options, for its own file of them
)


def leave_out_unused_imports() -> None:
    """To be called before anything of mitmproxy is imported."""
    if _ADDONS not in sys.modules:
        _unrun(_ADDONS)
    for name in _LATE:
        if name not in sys.modules:
            _put_off(name)


def _put_off(name: str) -> None:
    """Run a module when something of it is used, not when it is imported."""
    module, loader = _unrun(name)

    def run(attribute: str) -> object:
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, attribute)

    module.__dict__["__getattr__"] = run


def _unrun(name: str) -> tuple[ModuleType, Loader]:
    """Register a module as imported, with nothing in it yet. Raises ModuleNotFoundError."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"no module {name!r}", name=name)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)
    return module, spec.loader
