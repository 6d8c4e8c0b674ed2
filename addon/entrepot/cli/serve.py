"""``entrepot serve``: the proxy, until a signal ends it."""

from entrepot.cli.frame.definition import command
from entrepot.cli.frame.parameters import ALL
from entrepot.config.settings import Config


@command(
    settings=ALL,
    details="It listens on port 3128 and keeps what it fetches below half of the free disk.",
    examples=(
        ("entrepot serve", "listen on port 3128, for everything"),
        ("entrepot serve --listen 10.0.0.5:3128 --size 200GiB", "on one address, with a limit"),
        ("entrepot serve --mirror :5000=docker.io", "be a mirror of Docker Hub, too"),
        ("entrepot serve --config /etc/entrepot.toml", "with the settings of a file"),
    ),
)
def serve(config: Config) -> None:
    """Serve. Raises ``StartError`` where the proxy cannot start."""
    # In this order, and not at the top: mitmproxy is most of what a start costs.
    from entrepot.mitm.lean_imports import leave_out_unused_imports  # noqa: PLC0415

    leave_out_unused_imports()
    from entrepot.mitm.master import serve as serve_with  # noqa: PLC0415

    serve_with(config)
