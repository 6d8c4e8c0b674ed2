"""One call of a kubelet to containerd: pull this image. It is gRPC, which `curl` can carry.

The Kubernetes project's `crictl` is not in every Debian release.
"""

import struct
import subprocess
from pathlib import Path

from rig.process import RigError, program

_CALL = "http://localhost/runtime.v1.ImageService/PullImage"


def pull_image(socket: Path, name: str, timeout: float = 60) -> None:
    """Return when the image is there; RigError with containerd's words where it fails."""
    spec = _text(name)  # ImageSpec.image = 1
    request = b"\x0a" + bytes([len(spec)]) + spec  # PullImageRequest.image = 1
    finished = subprocess.run(
        [
            *(program("curl"), "-q", "--silent", "--show-error", "--http2-prior-knowledge"),
            *("--unix-socket", str(socket), "--max-time", str(timeout)),
            *("--header", "Content-Type: application/grpc", "--header", "TE: trailers"),
            *("--data-binary", "@-", "--dump-header", "-", "--output", "/dev/null", _CALL),
        ],
        input=b"\0" + struct.pack(">I", len(request)) + request,
        capture_output=True,
        check=False,
    )
    said = finished.stdout.decode()
    if finished.returncode or "grpc-status: 0" not in said.lower():
        raise RigError(f"PullImage {name}: {said} {finished.stderr.decode()}")


def _text(value: str) -> bytes:
    """Field 1 of a protobuf message, a text of less than 120 bytes."""
    encoded = value.encode()
    if len(encoded) > 120:
        raise RigError(f"expected a name of at most 120 bytes, got {value!r}")
    return b"\x0a" + bytes([len(encoded)]) + encoded
