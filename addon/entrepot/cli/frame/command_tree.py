"""The tree of commands: what typer parses, and helps with, made of the table of commands.

A command's module is imported when the command is chosen; until then its row in the table stands
for it.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from entrepot.cli.frame.definition import Definition
from entrepot.version import VERSION

COMPLETION = "_ENTREPOT_COMPLETE"
"""The variable by which a shell asks what may come next."""
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table: a name of one or two words, ``module:function``, help, its section."""

    name: str
    target: str
    help: str
    section: str

    def load(self) -> Definition:
        """Import what does it."""
        module, _, function = self.target.partition(":")
        found = getattr(importlib.import_module(module), function)
        if not isinstance(found, Definition):
            raise TypeError(f"{self.target} is no command")
        return found


class Announced(TyperCommand):
    """A command that is named in a list, and not imported yet."""

    def __init__(self, row: Command) -> None:
        super().__init__(row.name.rpartition(" ")[2], help=row.help, short_help=row.help)
        self.row = row


class Chosen(TyperCommand):
    """A command with its parameters and the whole of its help."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Name what has to be given as everybody does, without braces around it."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words; what is wrong with them knows whose they are, so that it can say it."""
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            if getattr(error, "ctx", None) is None:
                error.ctx = ctx  # type: ignore[attr-defined]
            raise


class Group(TyperGroup):
    """Commands of a common name, in sections."""

    section = ""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that is meant, and import it."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, loaded(found) if isinstance(found, Announced) else found, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 typer's
        """Write the list of commands, a section after the other."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, one in self.commands.items():
            section = one.row.section if isinstance(one, Announced) else getattr(one, "section", "")
            sections.setdefault(section, []).append((name, one.help or ""))
        width = max(len(name) for rows in sections.values() for name, _ in rows)
        for section, rows in sections.items():
            with formatter.section(section if len(sections) > 1 else "Commands"):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])


def loaded(announced: Announced) -> Chosen:
    """Import the command that was only announced."""
    from entrepot.cli.frame.parameters import function_for_typer  # noqa: PLC0415 all options, too

    row = announced.row
    definition = row.load()
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    add = app.command(
        announced.name,
        cls=Chosen,
        help=f"{row.help[:1].upper()}{row.help[1:]}.\n\n{definition.details}",
        epilog=_examples(definition.examples),
        context_settings=dict(_CONTEXT),
    )
    add(function_for_typer(definition))
    found = typer.main.get_command(app)
    if not isinstance(found, Chosen):
        raise TypeError(f"{row.target} is no command")
    return found


def _examples(examples: Sequence[tuple[str, str]]) -> str | None:
    """Lines as they are, which is what the mark in front of them asks for."""
    lines = [line for typed, does in examples for line in (f"  # {does}", f"  {typed}")]
    return "\n".join(["\b", "Examples:", *lines]) if lines else None


def command_tree(
    program: str, commands: Sequence[Command], groups: Mapping[str, str], *, completes: bool = False
) -> Group:
    """All commands; ``completes`` where a shell asks, and not a user."""
    root = _root(program, completes=completes)
    made = {"": root}
    for row in commands:
        above, _, name = row.name.rpartition(" ")
        if above not in made:
            made[above] = Group(
                name=above,
                help=groups[above],
                context_settings=dict(_CONTEXT),
                rich_markup_mode=None,
            )
            made[above].section = row.section
            root.add_command(made[above])
        made[above].add_command(Announced(row), name)
    return root


def _root(program: str, *, completes: bool) -> Group:
    app = typer.Typer(
        cls=Group,
        add_completion=completes,
        rich_markup_mode=None,
        context_settings=dict(_CONTEXT),
        help="Run the cache of container registries, see what it holds, and look after it.",
        epilog="See 'entrepot COMMAND --help' for what a command does, with examples.",
    )

    @app.callback()
    def entrepot(
        *,
        _version: Annotated[
            bool,
            typer.Option(
                "--version", help="say which version this is", callback=_say_version, is_eager=True
            ),
        ] = False,
    ) -> None: ...

    root = typer.main.get_command(app)
    assert isinstance(root, Group)  # noqa: S101
    root.name = program
    root.params = [one for one in root.params if not (one.name or "").endswith("_completion")]
    return root


def _say_version(asked: bool) -> None:  # noqa: FBT001 typer's
    if asked:
        print(f"entrepot {VERSION}")
        raise typer.Exit
