"""nginx twice: as plain file server, which is the limit, and as caching proxy.

The caching proxy is what rpardini/docker-registry-proxy is made of, with its settings where they
matter: blobs are cached under their path, redirects to the content host are followed here, the
cache lock makes one fetch of many. That project adds CONNECT in front of it (a patched nginx); here
clients speak TLS to it directly, which can only be faster. Manifests are cached by digest only.
"""

from pathlib import Path

from bench.origin import Address
from rig.certs import Leaf
from rig.images import OCI_MANIFEST

_STORED = "docker/registry/v2/blobs/sha256"
_BY_DIGEST = "sha256:(?<hex>(?<two>..)[0-9a-f]+)$"


def static(folder: Path, listen: str, storage: Path, tags: dict[str, str]) -> str:
    """Return a configuration that serves a registry from its files.

    `tags` are paths of manifests by tag, and their digests: no file of the storage says that.
    """
    stored = f"alias {storage}/{_STORED}/$two/$hex/data;"
    manifest = f"""
            default_type {OCI_MANIFEST};
            add_header Docker-Content-Digest sha256:$hex;"""
    by_tag = "\n".join(
        f"""
        location = {path} {{
            set $hex {digest.removeprefix("sha256:")};
            {manifest}
            alias {storage}/{_STORED}/{digest[7:9]}/{digest[7:]}/data;
        }}"""
        for path, digest in tags.items()
    )
    return _frame(
        folder,
        f"""
    server {{
        {listen}
        add_header Docker-Distribution-Api-Version registry/2.0;
        location = /v2/ {{ default_type application/json; return 200 "{{}}"; }}
        {by_tag}
        location ~ "^/v2/.+/manifests/{_BY_DIGEST}" {{ {manifest}
            {stored}
        }}
        location ~ "^/v2/.+/blobs/{_BY_DIGEST}" {{
            default_type application/octet-stream;
            {stored}
        }}
    }}""",
    )


def proxy_cache(folder: Path, listen: str, trusted: Path, address: Address) -> str:
    """Return a configuration that caches one registry and what it redirects to."""
    cached = """
            proxy_cache cache;
            proxy_cache_key $uri;
            proxy_cache_lock on;
            proxy_cache_lock_timeout 880s;
            proxy_cache_lock_age 880s;
            proxy_cache_valid 200 60d;
            proxy_ignore_headers Cache-Control Expires Set-Cookie Vary X-Accel-Expires;"""
    return _frame(
        folder,
        f"""
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=cache:10m max_size=32g inactive=60d
        use_temp_path=off;
    upstream origin {{ server 127.0.0.1:{address.port}; keepalive 32; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_ssl_server_name on;
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {trusted};
    proxy_read_timeout 900s;
    map $upstream_http_location $content_path {{ "~^https://[^/]+(?<path>/.*)$" $path; }}
    server {{
        {listen}
        proxy_set_header Host {address.netloc};
        proxy_ssl_name {address.registry};
        location / {{ proxy_pass https://origin; }}
        location ~ "^/v2/.+/manifests/sha256:" {{
            {cached}
            proxy_pass https://origin;
        }}
        location ~ "^/v2/.+/blobs/sha256:" {{
            {cached}
            proxy_intercept_errors on;
            error_page 301 302 307 = @content;
            proxy_pass https://origin;
        }}
        location @content {{
            {cached}
            set $content $content_path;
            proxy_set_header Host {address.content}:{address.port};
            proxy_set_header Authorization "";
            proxy_ssl_name {address.content};
            proxy_pass https://origin$content;
        }}
    }}""",
    )


def listen(port: int, leaf: Leaf) -> str:
    """Return what makes a server accept TLS there."""
    return f"""listen 127.0.0.1:{port} ssl;
        ssl_certificate {leaf.cert};
        ssl_certificate_key {leaf.key};"""


def _frame(folder: Path, body: str) -> str:
    return f"""
daemon off;
worker_processes auto;
user root;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
{body}
}}
"""
