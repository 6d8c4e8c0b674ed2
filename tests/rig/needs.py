"""What the machine must have; a test that lacks it is skipped, saying what would run it."""

import os
import shutil

import pytest

from rig.process import PATH

_PACKAGES = {
    "chromium": "chromium",
    "containerd": "containerd",
    "ctr": "containerd",
    "docker": "docker.io",
    "kubectl": "kubernetes-client",
    "ip": "iproute2",
    "man": "man-db",
    "nft": "nftables",
    "docker-registry": "docker-registry",
    "docker-compose": "docker-compose",
    "dockerd": "docker.io",
    "nginx": "nginx-light",
    "nsenter": "util-linux",
    "podman": "podman",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "runc": "runc",
    "openssl": "openssl",
    "setpriv": "util-linux",
    "skopeo": "skopeo",
    "squid": "squid-openssl",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "unshare": "util-linux",
}


def need(*programs: str) -> None:
    """Skip the test unless all these programs are there."""
    missing = [name for name in programs if shutil.which(name, path=PATH) is None]
    if missing:
        packages = " ".join(sorted({_PACKAGES.get(name, name) for name in missing}))
        pytest.skip(f"no {', '.join(missing)}: apt-get install {packages}")


def need_root() -> None:
    """Skip the test unless it runs as root."""
    if os.geteuid() != 0:
        pytest.skip("not root: container daemons mount and unpack as root")
