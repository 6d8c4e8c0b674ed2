"""What goes wrong with a command, in the words for a terminal: a wrong line, or a failure."""

from typing import Any

import typer

from entrepot.app.start_error import StartError
from entrepot.config.options import nearest
from entrepot.config.settings import ConfigError


def said_of(error: Exception) -> str | None:
    """What is to be written of a failure; None for a fault of the program itself."""
    if isinstance(error, typer.TyperException):
        return _usage(error)
    reason = _reason(error)
    return None if reason is None else f"entrepot: {reason}"


def _usage(error: typer.TyperException) -> str:
    """The usage, then what is wrong."""
    context = getattr(error, "ctx", None)
    message = _message(error, context)
    if context is None:
        return f"error: {message}"
    usage = " ".join([context.command_path, *context.command.collect_usage_pieces(context)])
    return (
        f"usage: {usage}\nsee {context.command_path} --help\n"
        f"{context.command_path}: error: {message}"
    )


def _message(error: typer.TyperException, context: Any) -> str:
    name = getattr(error, "option_name", None)
    if name is not None and hasattr(error, "possibilities"):
        known = {word for one in context.command.params for word in one.opts}
        return f"no such option {name}, {nearest(name, known)}"
    message = error.format_message().rstrip(".").replace(". Did you mean", ", did you mean")
    return message[:1].lower() + message[1:]


def _reason(error: Exception) -> object | None:
    """Why a command failed, in one line."""
    from entrepot_ca import AuthorityError  # noqa: PLC0415 cryptography, which help has no use for

    if isinstance(error, ConfigError | StartError | AuthorityError | FileExistsError):
        return error
    if isinstance(error, OSError):
        from entrepot.storage.errors import storage_reason  # noqa: PLC0415 seldom needed

        return storage_reason(error)
    return None
