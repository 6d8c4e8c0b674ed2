"""What a proxy sets for its whole process: file modes, open files, how malloc keeps memory."""

import contextlib
import ctypes
import os
import resource

from entrepot.protocol.messages import CHUNK


def set_limits() -> None:
    """Set all of it; to be called once, before anything is opened."""
    os.umask(0o077)
    _allow_many_files()
    _reuse_memory()


def _allow_many_files() -> None:
    """Raise the soft limit of open files: a transfer holds two, a client connection one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _reuse_memory() -> None:
    """Let malloc keep a few freed chunks of transfers, in one place for all threads.

    It would give each back to the kernel and get it anew, a page fault at a time, and keep some
    for each thread that ever was. The parameters are M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and
    M_ARENA_MAX of glibc; other libraries have none.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 4 * CHUNK)
        mallopt(-3, 4 * CHUNK)
        mallopt(-8, 1)
