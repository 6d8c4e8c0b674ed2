"""The command ``entrepot``: run the proxy, look after its authority, see what is cached.

Exit codes: 0 well, 1 it could not start or do what was asked, 2 the command line is wrong,
130 ended by ^C.

What a command needs is imported when it is run: help is a matter of milliseconds so.
"""

import os
import sys
from collections.abc import Sequence

import typer

from entrepot.cli.commands import COMMANDS, GROUPS
from entrepot.cli.frame.command_tree import COMPLETION, command_tree

PROGRAM = "entrepot"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code."""
    os.umask(0o077)
    tree = command_tree(PROGRAM, COMMANDS, GROUPS, completes=COMPLETION in os.environ)
    try:
        status = tree.main(arguments, PROGRAM, COMPLETION, standalone_mode=False)
    except typer.Abort:
        return 130
    except Exception as error:
        from entrepot.cli.frame.failures import said_of  # noqa: PLC0415 see above

        said = said_of(error)
        if said is None:
            raise
        print(said, file=sys.stderr)
        return 2 if isinstance(error, typer.TyperException) else 1
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main())
