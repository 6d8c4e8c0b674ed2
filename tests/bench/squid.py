"""squid with `ssl_bump`, for clients that trust its authority, as ours do.

It gets what favours it: URLs that never change (real content hosts sign theirs anew for each pull,
which squid takes for another object), everything with a digest in its path counts as fresh, one
fetch serves all who ask (`collapsed_forwarding`), and a client that leaves stops no fetch. Of its
stores `ufs` read twice to three times as fast as `aufs` from files that are in the page cache.
"""

import shutil
import subprocess
from pathlib import Path

from bench.load import Way
from bench.origin import Origin
from rig.certs import Authority
from rig.ports import free_port
from rig.process import Daemon, RigError, accepts, clean_environment, program

USER = "proxy"  # Debian's; squid gives up root
_FRESH = "override-expire override-lastmod ignore-reload ignore-private ignore-no-store"
_CERTGEN = "/usr/lib/squid/security_file_certgen"


def squid(folder: Path, origin: Origin) -> tuple[Daemon, Way]:
    """Return squid with an empty cache in `folder`, and the way to it."""
    folder.mkdir(parents=True)
    port = free_port()
    authority = Authority(folder / "ca", "Bench squid CA")
    key = authority.folder / "ca.key"
    key.write_bytes(authority.private_pem())
    config = folder / "squid.conf"
    config.write_text(_config(folder, port, authority.pem, key, origin))
    _run(_CERTGEN, "-c", "-s", folder / "certificates", "-M", "4MB")
    for path in (folder, folder / "certificates", *(folder / "certificates").rglob("*")):
        shutil.chown(path, USER)
    _run(program("squid"), "-N", "-z", "-f", config)
    daemon = Daemon(
        "squid",
        [program("squid"), "-N", "-f", config],
        log=folder / "squid.log",
        env=clean_environment(folder),
        ready=lambda: accepts(port),
    )
    return daemon, Way(authority.pem, port, proxy=True)


def _config(folder: Path, port: int, pem: Path, key: Path, origin: Origin) -> str:
    return f"""
http_port 127.0.0.1:{port} ssl-bump tls-cert={pem} tls-key={key} generate-host-certificates=on
sslcrtd_program {_CERTGEN} -s {folder}/certificates -M 4MB
sslcrtd_children 2
ssl_bump bump all
tls_outgoing_options cafile={origin.authority.pem}
hosts_file {origin.hosts_file(folder / "hosts")}
acl loopback src 127.0.0.1
http_access allow loopback
http_access deny all
cache_effective_user {USER}
pid_filename {folder}/squid.pid
coredump_dir {folder}
access_log none
cache_log {folder}/cache.log
cache_store_log none
pinger_enable off
shutdown_lifetime 0 seconds
maximum_object_size 2 GB
cache_dir ufs {folder}/cache 8192 16 256
cache_mem 64 MB
collapsed_forwarding on
quick_abort_min -1 KB
refresh_pattern sha256 525600 100% 525600 {_FRESH}
refresh_pattern . 0 20% 0
"""


def _run(*words: str | Path) -> None:
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RigError(f"{' '.join(map(str, words))}: status {ran.returncode}: {ran.stderr}")
