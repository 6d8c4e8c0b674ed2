"""As whom a command writes into the data folder: as its owner, so that the proxy can read it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def become_owner(folder: Path) -> None:
    """As root, write from now on as the user whose folder it is, if there is one."""
    try:
        owner = folder.stat()
    except FileNotFoundError:
        return
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """The same for a while: what is written elsewhere belongs to who runs the command."""
    user, group = os.geteuid(), os.getegid()
    become_owner(folder)
    try:
        yield
    finally:
        if os.geteuid() != user:
            os.seteuid(user)
            os.setegid(group)
