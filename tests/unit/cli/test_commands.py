"""The table of commands: each row is a command, with help that shows how it is used."""

import shlex

import pytest

from entrepot.cli.commands import COMMANDS, GROUPS
from entrepot.cli.frame.command_tree import Announced, Command, Group, command_tree, loaded
from entrepot.config.options import OPTIONS

TREE = command_tree("entrepot", COMMANDS, GROUPS)


def found(words: list[str]) -> Announced:
    """The command that words begin with."""
    group = TREE
    for word in words:
        one = group.commands[word]
        if isinstance(one, Announced):
            return one
        assert isinstance(one, Group)
        group = one
    raise AssertionError(words)


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_each_row_is_a_command_that_takes_its_settings(row: Command) -> None:
    """By the names that the table of options has for them."""
    command = loaded(found(row.name.split()))
    flags = {word for one in command.params for word in one.opts}
    assert {o.flag for o in OPTIONS if o.name in row.load().settings} <= flags


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_the_examples_are_command_lines(row: Command) -> None:
    """Of commands that there are, with words that these take."""
    for line, _ in row.load().examples:
        program, *words = shlex.split(line.partition(" > ")[0].partition(" | ")[0])
        name = words[: 2 if words[0] in GROUPS else 1]
        assert program == "entrepot"
        loaded(found(name)).make_context(" ".join(name), words[len(name) :])


def test_every_group_has_commands() -> None:
    firsts = {row.name.partition(" ")[0] for row in COMMANDS if " " in row.name}
    assert set(GROUPS) == firsts
