"""The container engines of later Debian releases (scripts/newer-clients), run by chroot.

They run in a mount namespace of their own, with this machine's /proc, /dev, /sys, /run and /tmp, so
that the folders of the rig have the same names inside, and with /etc/hosts as it is outside.
"""

from pathlib import Path

from rig.process import program

_FOLDER = Path(__file__).parents[2] / ".clients"
_SHARED = ("/proc", "/dev", "/sys", "/tmp")  # noqa: S108 the rig's folders are there
_SCRIPT = """
root=$1; shift
mount --bind "$root" "$root" || exit  # only a mount can be made private by what runs inside
for folder in %s; do mount --rbind "$folder" "$root$folder" || exit; done
mount --bind /etc/hosts "$root/etc/hosts" || exit
mount -t tmpfs rig "$root/run" && exec chroot "$root" "$@"
"""


def releases(*programs: str) -> list[str]:
    """The releases whose clients are there, all of `programs` among them."""
    found = sorted(path.parent for path in _FOLDER.glob("*/.complete"))
    return [home.name for home in found if all(_has(home, name) for name in programs)]


def _has(home: Path, program: str) -> bool:
    return any((home / "usr" / folder / program).exists() for folder in ("bin", "sbin"))


def within(release: str) -> tuple[str, ...]:
    """The words before a command that run it among the programs of a release."""
    unshare = [program("unshare"), "--mount", "--propagation=private", "sh", "-c"]
    return (*unshare, _SCRIPT % " ".join(_SHARED), "sh", str(_FOLDER / release))
