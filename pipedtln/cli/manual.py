"""``pipedtln manual``: the man page, made of the help texts themselves."""

from __future__ import annotations

import inspect

import click

from pipedtln import __version__, errors
from pipedtln.cli.main import EXIT_BUG, EXIT_INTERRUPTED, EXIT_TERMINATED, main
from pipedtln.errors import PipedtlnError


@click.command(
    epilog="""\
\b
Examples:
  pipedtln manual | man -l -
  pipedtln manual > ~/.local/share/man/man1/pipedtln.1
"""
)
def manual() -> None:
    """Print the man page."""
    click.echo(man_page(), nl=False)


def man_page() -> str:
    """The whole manual in the macros of man(7)."""
    group = main
    context = click.Context(group, info_name="pipedtln")
    parts = [
        f'.TH PIPEDTLN 1 "" "pipedtln {__version__}" "User Commands"\n',
        ".SH NAME\npipedtln \\- a clean microphone for every app\n",
        ".SH SYNOPSIS\n.B pipedtln\n.I COMMAND\n[\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]\n",
        ".SH DESCRIPTION\n" + _paragraphs(group.help or ""),
        _verbatim(group.epilog or ""),
        ".SH COMMANDS\n",
    ]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            parts.append(_command(command, click.Context(command, info_name=name, parent=context)))
    parts += [
        ".SH EXIT STATUS\n",
        *(f".TP\n.B {code}\n{_escape(says)}\n" for code, says in exit_codes()),
        ".SH FILES\n.TP\n.I ~/.config/pipedtln/config.toml\nThe settings, each explained there.\n",
        ".SH ENVIRONMENT\n.TP\n.B PIPEDTLN_<KEY>\nA setting, over that of the file.\n",
        ".TP\n.B PIPEDTLN_MODELS_DIR\nA folder with weights, searched first.\n",
        ".TP\n.B PIPEDTLN_DEBUG\n1 shows where an error came from.\n",
    ]
    return "".join(parts)


def exit_codes() -> list[tuple[int, str]]:
    """Every exit code with what it says, as the exceptions themselves tell it."""
    said: dict[int, list[str]] = {0: ["success"]}
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, PipedtlnError):
            first = (kind.__doc__ or "").strip().splitlines()[0]
            said.setdefault(kind.exit_code, []).append(f"{kind.__name__}: {first}")
    said[errors.PipedtlnError.exit_code].append("doctor found a problem.")
    said[errors.InputError.exit_code].append("A command, option or argument is unknown.")
    said[EXIT_BUG] = ["a bug in pipedtln; PIPEDTLN_DEBUG=1 shows where"]
    said[EXIT_INTERRUPTED] = ["interrupted (Ctrl-C)"]
    said[EXIT_TERMINATED] = ["ended by SIGTERM"]
    return [(code, " ".join(said[code])) for code in sorted(said)]


def _command(command: click.Command, context: click.Context) -> str:
    parts = [f".SS {_escape(command.get_usage(context).removeprefix('Usage: '))}\n"]
    parts.append(_paragraphs(command.help or ""))
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            parts.append(f".TP\n.B {_escape(record[0])}\n{_escape(record[1])}\n")
    parts.append(_verbatim(command.epilog or ""))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                parts.append(_command(child, click.Context(child, info_name=name, parent=context)))
    return "".join(parts)


def _paragraphs(text: str) -> str:
    """Help text as click has it: paragraphs, those that begin with \\b line by line."""
    made = []
    for paragraph in inspect.cleandoc(text.split("\f", 1)[0]).split("\n\n"):
        if paragraph.lstrip().startswith("\b"):
            made.append(_verbatim(paragraph))
        elif paragraph.strip():
            made.append(f".PP\n{_escape(' '.join(paragraph.split()))}\n")
    return "".join(made)


def _verbatim(text: str) -> str:
    lines = [line for line in text.replace("\b", "").splitlines() if line.strip()]
    if not lines:
        return ""
    return ".PP\n.nf\n" + "".join(f"{_escape(line)}\n" for line in lines) + ".fi\n"


def _escape(text: str) -> str:
    """Text that roff takes literally, also when it begins with a dot or a quote."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text
