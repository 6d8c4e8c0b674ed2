"""The commands as their own help has them: for `docs/commands.md`, and as a man page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from entrepot.cli.commands import COMMANDS, GROUPS
from entrepot.cli.frame.command_tree import Announced, Command, command_tree, loaded
from entrepot.cli.frame.parameters import ALL, FROM_SETTING
from entrepot.config.options import OPTIONS

_TREE = command_tree("entrepot", COMMANDS, GROUPS)
_HELP = "help"


@dataclass(frozen=True, slots=True)
class Described:
    """An argument or an option: how it is written, and what it is for."""

    written: str
    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """All that is to be said of one command."""

    row: Command
    details: str
    usage: str
    arguments: tuple[Described, ...]
    options: tuple[Described, ...]
    settings: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return f"entrepot {self.row.name}"


def references() -> Iterator[Reference]:
    """Every command, in the order of the table."""
    for row in COMMANDS:
        yield _reference(row)


def _reference(row: Command) -> Reference:
    command, definition = loaded(Announced(row)), row.load()
    context = command.context_class(command, info_name=row.name)
    own: list[Any] = [one for one in command.params if not str(one.name).startswith(FROM_SETTING)]
    return Reference(
        row,
        definition.details,
        " ".join(command.collect_usage_pieces(context)),
        tuple(_argument(one, context) for one in own if one.param_type_name == "argument"),
        tuple(_option(one, context) for one in own if one.param_type_name == "option"),
        definition.settings,
        definition.examples,
    )


def _argument(one: Any, context: Any) -> Described:
    return Described(one.make_metavar(ctx=context).strip("{}"), one.help or "")


def _option(one: Any, context: Any) -> Described:
    written, text = one.get_help_record(context)
    return Described(written, text)


def flags() -> set[str]:
    """Every option of every command, and of the program itself."""
    commands: list[Any] = [_TREE, *(loaded(Announced(row)) for row in COMMANDS)]
    return {flag for one in commands for param in one.params for flag in param.opts} | {"--help"}


# For docs/commands.md


def markdown() -> str:
    """A section for each command."""
    return "\n".join("\n".join(_section(one)) for one in references())


def _section(one: Reference) -> Iterator[str]:
    yield f"### {one.name}"
    yield ""
    yield f"{_sentence(one.row.help)} {one.details}".rstrip()
    yield ""
    yield "```console"
    yield f"$ {one.name} {one.usage}"
    yield "```"
    yield ""
    described = [*one.arguments, *one.options]
    if described:
        yield "| written | meaning |"
        yield "| --- | --- |"
        for each in described:
            yield f"| `{_cell(each.written)}` | {_cell(each.text)} |"
        yield ""
    if one.settings:
        yield f"Settings: {_settings(one.settings)}."
        yield ""
    if one.examples:
        yield "```sh"
        width = max(len(line) for line, _ in one.examples)
        for line, does in one.examples:
            yield f"{line.ljust(width)}  # {does}"
        yield "```"
        yield ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _settings(names: Sequence[str]) -> str:
    if set(names) == set(ALL):
        return "[all of them](configuration.md#options)"
    known = {option.name: option.flag for option in OPTIONS}
    return ", ".join(f"`{known[name]}`" for name in names)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


# For docs/man/entrepot.1 (man(7))


def man_page() -> str:
    """The page of the whole program."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield r".\" Made from the commands themselves: scripts/docs"
    yield ".TH ENTREPOT 1"
    yield ".SH NAME"
    yield r"entrepot \- the cache of container registries that one network pulls through"
    yield ".SH SYNOPSIS"
    yield r".B entrepot"
    yield r".I COMMAND"
    yield r"[\fIOPTIONS\fR]"
    yield ".SH DESCRIPTION"
    yield from _paragraph(
        "Runs a proxy that caches what container registries serve, shows what it holds, what it"
        " does and what it saves, and looks after it. Where a proxy runs on the data folder, the"
        " commands ask it over its control socket; else they open the folder themselves. They are"
        " for root and for the user as whom the proxy runs."
    )
    yield ".SH COMMANDS"
    for one in references():
        yield from _man_section(one)
    yield ".SH EXIT STATUS"
    for code, text in EXIT_CODES:
        yield from _tagged(rf"\fB{code}\fR", text)
    yield ".SH ENVIRONMENT"
    for name, text in VARIABLES:
        yield from _tagged(rf"\fB{name}\fR", text)
    yield ".SH FILES"
    yield from _tagged(
        r"\fI/var/lib/entrepot\fR", "the data folder of root, unless --data says another"
    )
    yield from _tagged(r"\fI~/.local/share/entrepot\fR", "that of any other user")
    yield ".SH SEE ALSO"
    yield r"\fBskopeo\fR(1), \fBdocker\fR(1), \fBpodman\fR(1), \fBcontainerd\fR(8)"


EXIT_CODES = (
    ("0", "it was done, and all is well"),
    ("1", "it could not be done, or what was looked at is not well"),
    ("2", "the command line is wrong"),
    ("130", "it was ended by ^C"),
)
VARIABLES = (
    ("ENTREPOT_DATA", "the data folder, where --data does not say one"),
    ("HTTPS_PROXY, NO_PROXY", "the proxy through which registries are reached, and for which not"),
    ("NO_COLOR", "if it is set, nothing is coloured"),
    ("COLUMNS", "the width to print for, where it is not the terminal's"),
)


def _man_section(one: Reference) -> Iterator[str]:
    yield f".SS {_roff(one.name)} {_roff(one.usage)}"
    yield from _paragraph(f"{_sentence(one.row.help)} {one.details}".rstrip())
    for each in (*one.arguments, *one.options):
        yield from _tagged(rf"\fB{_roff(each.written)}\fR", each.text)
    if one.settings:
        flags = {option.name: option.flag for option in OPTIONS}
        every = set(one.settings) == set(ALL)
        if every and one.row.name == "serve":
            for option in OPTIONS:
                written = f"{option.flag} {option.metavar}".strip()
                yield from _tagged(rf"\fB{_roff(written)}\fR", option.help)
        else:
            named = ", ".join(flags[name] for name in one.settings)
            yield from _paragraph(f"Settings: {'all of entrepot serve' if every else named}.")
    for line, does in one.examples:
        yield ".PP"
        yield ".EX"
        yield _roff(f"# {does}")
        yield _roff(line)
        yield ".EE"


def _paragraph(text: str) -> Iterator[str]:
    yield ".PP"
    yield _roff(text)


def _tagged(tag: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield tag
    yield _roff(text)


def _roff(text: str) -> str:
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    return rf"\&{escaped}" if escaped[:1] in {".", "'"} else escaped
