"""distribution (Debian's docker-registry) as pull-through mirror of the origin's open registry.

It is reached as a server, as clients do that use it by `registry-mirrors`: over TLS, or plain HTTP,
where it sends files by sendfile. It finds the origin's names in a private /etc/hosts, which takes
root.
"""

import json
from pathlib import Path

from bench.load import Way
from bench.origin import Address, Origin
from rig.command import with_file
from rig.ports import free_port
from rig.process import Daemon, accepts, clean_environment, program


def mirror(
    folder: Path, origin: Origin, address: Address, *, plain: bool = False
) -> tuple[Daemon, Way]:
    """Return a mirror with an empty cache in `folder`, and the way to it."""
    storage = folder / "storage"
    storage.mkdir(parents=True)
    port = free_port()
    tls = {"certificate": str(origin.leaf.cert), "key": str(origin.leaf.key)}
    config = folder / "config.yml"
    config.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "error", "accesslog": {"disabled": True}},
                "storage": {"filesystem": {"rootdirectory": str(storage)}},
                "proxy": {"remoteurl": f"https://{address.netloc}"},
                "http": {
                    "addr": f"127.0.0.1:{port}",
                    "secret": "bench",
                    **({} if plain else {"tls": tls}),
                },
            }
        )
    )
    hosts = origin.hosts_file(folder / "hosts")
    daemon = Daemon(
        "mirror",
        [*with_file("/etc/hosts", hosts), program("docker-registry"), "serve", config],
        log=folder / "log",
        env=clean_environment(
            folder, OTEL_TRACES_EXPORTER="none", SSL_CERT_FILE=str(origin.authority.pem)
        ),
        ready=lambda: accepts(port),
    )
    return daemon, Way(origin.authority.pem, port)
