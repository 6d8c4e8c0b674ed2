"""``entrepot serve``: the proxy, until a signal ends it."""

from entrepot.config.settings import Config


def run(config: Config) -> None:
    """Serve. Raises ``StartError`` where the proxy cannot start."""
    # In this order, and not at the top: mitmproxy is most of what a start costs.
    from entrepot.mitm.lean_imports import leave_out_unused_imports  # noqa: PLC0415

    leave_out_unused_imports()
    from entrepot.mitm.master import serve  # noqa: PLC0415

    serve(config)
