"""``pipedtln completion``: the script that lets a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pipedtln.errors import InputError


@click.command(
    "completion",
    epilog="""\b
Examples:
pipedtln completion bash > ~/.local/share/bash-completion/completions/pipedtln
pipedtln completion zsh > ~/.zfunc/_pipedtln      with ~/.zfunc in fpath
pipedtln completion fish > ~/.config/fish/completions/pipedtln.fish
""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands by Tab."""
    kind = get_completion_class(shell)
    if kind is None:
        raise InputError(f"no completion for {shell}; use bash, zsh or fish")
    click.echo(kind(ctx.find_root().command, {}, "pipedtln", "_PIPEDTLN_COMPLETE").source())
