"""A private nginx: one process, name-based sites, and an access log that can be trusted.

With `master_process off` it is a single thread that writes a request's log line in the same event
as the last byte of its answer. So one round trip to the control port, begun after a client has its
answer, ends after that answer's line is in the file.
"""

import http.client
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.certs import Leaf
from rig.ports import free_port
from rig.process import PATIENCE, Daemon, accepts, clean_environment, program
from rig.record import LOG_FORMAT, LOG_MAPS, Requests, parse


@dataclass(frozen=True, slots=True)
class Site:
    """One server block: the name it answers to, its certificate (None: plain HTTP), its body."""

    name: str
    leaf: Leaf | None
    body: str


def proxied(port: int) -> str:
    """Return a site body that passes everything to a loopback port, streaming both ways."""
    return f"location / {{ proxy_pass http://127.0.0.1:{port}; }}"


def stored_files(storage: Path) -> str:
    """Return a body that serves a storage folder as S3 would: 400 to any Authorization."""
    return f"""
    if ($http_authorization) {{ return 400; }}
    location / {{ root {storage}; default_type application/octet-stream; }}
    """


class Nginx:
    """nginx on two loopback ports, `tls_port` and `plain_port`; the same ones at each start."""

    def __init__(self, folder: Path, sites: Sequence[Site], tls_port: int | None = None) -> None:
        folder.mkdir(parents=True)
        self.tls_port = tls_port or free_port()
        self.plain_port = free_port()
        self._control_port = free_port()
        self._access_log = folder / "access.log"
        self._access_log.touch()
        config = folder / "nginx.conf"
        config.write_text(self._config(folder, sites))
        self.daemon = Daemon(
            "nginx",
            [program("nginx"), "-p", folder, "-c", config],
            log=folder / "error.log",
            env=clean_environment(folder),
            ready=lambda: accepts(self._control_port),
        )

    def start(self) -> None:
        self.daemon.start()

    def stop(self) -> None:
        self.daemon.stop()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse every connection (those that are open are closed) while the block runs."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def mark(self) -> int:
        """Return a position in the record: all that has been answered lies before it."""
        self._barrier()
        return self._access_log.stat().st_size

    def requests(self, since: int = 0) -> Requests:
        """Return all that has been answered since a mark."""
        self._barrier()
        with self._access_log.open("rb") as log:
            log.seek(since)
            return Requests(parse(line for line in log.read().decode().splitlines()))

    def _barrier(self) -> None:
        if not self.daemon.running():
            return
        connection = http.client.HTTPConnection("127.0.0.1", self._control_port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        finally:
            connection.close()

    def _config(self, folder: Path, sites: Sequence[Site]) -> str:
        blocks = "\n".join(self._server(site) for site in sites)
        return f"""
daemon off;
master_process off;
user root;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    {LOG_MAPS}
    log_format rig escape=json {LOG_FORMAT};
    access_log {folder}/access.log rig;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server_names_hash_bucket_size 128;
    server_tokens off;
    sendfile on;
    tcp_nopush on;
    absolute_redirect off;
    client_max_body_size 0;
    keepalive_requests 1000000;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_buffer_size 256k;
    proxy_buffers 4 256k;
    proxy_busy_buffers_size 512k;
    proxy_read_timeout 600s;
    server {{
        listen 127.0.0.1:{self._control_port};
        access_log off;
        return 204;
    }}
    server {{
        listen 127.0.0.1:{self.tls_port} ssl default_server;
        ssl_reject_handshake on;
    }}
    server {{
        listen 127.0.0.1:{self.plain_port} default_server;
        return 404;
    }}
    {blocks}
}}
"""

    def _server(self, site: Site) -> str:
        listen, tls = f"127.0.0.1:{self.plain_port}", ""
        if site.leaf:
            listen = f"127.0.0.1:{self.tls_port} ssl"
            tls = f"ssl_certificate {site.leaf.cert}; ssl_certificate_key {site.leaf.key};"
        return f"server {{ listen {listen}; server_name {site.name}; {tls}\n{site.body}\n}}"
