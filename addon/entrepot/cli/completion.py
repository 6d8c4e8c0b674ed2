"""``entrepot completion``: a script for a shell, which completes commands, options and images.

What may come next the shell asks the command itself, by variables of the environment: typer's own
protocol (``typer.completion``). The scripts are ours: bash breaks words at the colon of an image's
tag, and a file of zsh's is a function's body.
"""

from typing import Annotated, Literal

import typer

from entrepot.cli.frame.command_tree import COMPLETION
from entrepot.cli.frame.definition import command

_PROGRAM = "entrepot"
_BASH = f"""\
_entrepot() {{
    local IFS=$'\\n' current="${{COMP_WORDS[COMP_CWORD]}}" number=$COMP_CWORD
    local -a words=("${{COMP_WORDS[@]}}")
    if declare -F _comp_get_words >/dev/null; then
        _comp_get_words -n : -c current -w words -i number
    elif declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n : -c current -w words -i number
    fi
    COMPREPLY=($(COMP_WORDS="${{words[*]}}" COMP_CWORD=$number {COMPLETION}=complete_bash "$1" \
2>/dev/null))
    if declare -F _comp_ltrim_colon_completions >/dev/null; then
        _comp_ltrim_colon_completions "$current"
    elif declare -F __ltrim_colon_completions >/dev/null; then
        __ltrim_colon_completions "$current"
    fi
}}
complete -o default -F _entrepot {_PROGRAM}"""
_ZSH = f"""\
#compdef {_PROGRAM}
_entrepot() {{
    local line value
    local -a found
    for line in "${{(@f)$(env {COMPLETION}=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args \\
        _TYPER_COMPLETE_ARGS="${{words[1,$CURRENT]}}" {_PROGRAM} 2>/dev/null)}}"; do
        value=${{line%%$'\\t'*}}
        [ -n "$line" ] && found+=("${{value//:/\\\\:}}${{${{line#$value}}/$'\\t'/:}}")
    done
    if (( $#found )); then _describe {_PROGRAM} found; else _files; fi
}}
if [ "$funcstack[1]" = _entrepot ]; then
    _entrepot "$@"
else
    compdef _entrepot {_PROGRAM}
fi"""
_ASK_OF_FISH = f"env {COMPLETION}=complete_fish _TYPER_COMPLETE_ARGS=(commandline -cp)"
_FISH = f"""\
complete --command {_PROGRAM} --no-files \\
    --condition "{_ASK_OF_FISH} _TYPER_COMPLETE_FISH_ACTION=is-args {_PROGRAM}" \\
    --arguments "({_ASK_OF_FISH} _TYPER_COMPLETE_FISH_ACTION=get-args {_PROGRAM})\""""


@command(
    details="The script asks this command what may come next, so it need not be written anew after"
    " an upgrade. Images are those that the running proxy holds.",
    examples=(
        ("entrepot completion bash > /etc/bash_completion.d/entrepot", "bash, for all users"),
        ("entrepot completion zsh > /usr/local/share/zsh/site-functions/_entrepot", "zsh"),
        ("entrepot completion fish > ~/.config/fish/completions/entrepot.fish", "fish"),
    ),
)
def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish")
    ],
) -> None:
    """Print the script."""
    print({"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell])
