"""The ``pipedtln`` command: its subcommands, loaded when asked for, and its exit codes."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

import click

from pipedtln import __version__
from pipedtln.errors import PipedtlnError

# Nothing here multiplies matrices large enough for a second thread, and numpy's OpenBLAS starts one
# for each core, busy for a moment, when it is loaded. A program that imports pipedtln has its own
# mind about that, so it is not in the package.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
EXIT_BUG = 70


@dataclass(frozen=True)
class Entry:
    """A subcommand that is not imported yet."""

    section: str
    module: str
    summary: str


COMMANDS = {
    "setup": Entry("Start here", "setup", "Make DTLN Microphone and start it at every login."),
    "status": Entry("Start here", "status", "Show what the service is doing."),
    "teardown": Entry("Start here", "teardown", "Take away what setup made."),
    "demo": Entry("Start here", "demo", "Hear the difference, without touching your devices."),
    "monitor": Entry("Steer", "monitor", "Watch levels and spectra live, and steer by keys."),
    "bypass": Entry("Steer", "steer", "Let the microphone through unprocessed, or not."),
    "mute": Entry("Steer", "steer", "Send silence to every app, or not."),
    "set": Entry("Steer", "steer", "Change a setting while the service runs."),
    "get": Entry("Steer", "steer", "Show a setting, or all of them."),
    "tray": Entry("Steer", "tray", "Show and steer it in the desktop's tray."),
    "listen": Entry("Steer", "listen", "Hear yourself as others do, a moment later."),
    "record": Entry("More", "record", "Record microphone, reference and result of one moment."),
    "doctor": Entry("More", "doctor", "Find out what is wrong, and the command that mends it."),
    "devices": Entry("More", "devices", "List microphones, outputs and pipedtln's own devices."),
    "models": Entry("More", "models", "List, fetch and locate the networks' weights."),
    "bench": Entry("More", "bench", "Measure what each network costs on this machine."),
    "process": Entry("More", "process", "Clean a recording."),
    "run": Entry("More", "run", "Run the service in the foreground."),
    "manual": Entry("More", "manual", "Print the man page."),
    "completion": Entry("More", "completion", "Print the script that completes commands by Tab."),
}
"""Every subcommand in the order of ``--help``; each lives in ``pipedtln.cli.<module>``."""

_EPILOG = """\
\b
First steps:
  pipedtln setup            once; then choose "DTLN Microphone" in your apps
  pipedtln status           see that it works
  pipedtln bypass toggle    compare with the bare microphone
  pipedtln teardown         go back to how everything was
"""


class LazyGroup(click.Group):
    """Imports a subcommand's module only when it is invoked, and turns errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the subcommands that this installation has."""
        return [name for name, entry in COMMANDS.items() if _find(entry)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a subcommand."""
        entry = COMMANDS.get(cmd_name)
        if entry is None or not _find(entry):
            return None
        module = importlib.import_module(f"pipedtln.cli.{entry.module}")
        for thing in vars(module).values():
            if isinstance(thing, click.Command) and thing.name == cmd_name:
                return thing
        raise PipedtlnError(f"this installation lacks '{cmd_name}'; reinstall pipedtln")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the subcommands by section without importing them."""
        names = self.list_commands(ctx)
        width = max(map(len, names), default=0)
        for section in dict.fromkeys(COMMANDS[name].section for name in names):
            rows = [
                (name.ljust(width), COMMANDS[name].summary)
                for name in names
                if COMMANDS[name].section == section
            ]
            with formatter.section(section):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the newcomer's path at the margin."""
        if self.epilog:
            formatter.write_paragraph()
            formatter.write_text(self.epilog)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand; the one place where errors become exit codes.

        Raises
        ------
        click.exceptions.Exit
            After the line that says what went wrong: with the error's own code, 70 for a bug,
            130 after Ctrl-C.
        SystemExit
            With 143 after SIGTERM, for which half-written files are removed as for Ctrl-C.
        """
        try:
            with _unwinding_on_sigterm():
                return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            raise _failure("interrupted", EXIT_INTERRUPTED) from None
        except PipedtlnError as error:
            raise _failure(str(error), error.exit_code) from error
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # click leaves quietly: the reader of our output has gone
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise _failure(
                f"a bug in pipedtln: {what}; PIPEDTLN_DEBUG=1 shows where, please report it",
                EXIT_BUG,
            ) from error


@contextmanager
def _unwinding_on_sigterm() -> Iterator[None]:
    """End by an exception, so that what is half-written goes, where nobody else handles it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(EXIT_TERMINATED)


def _failure(message: str, exit_code: int) -> click.exceptions.Exit:
    if os.environ.get("PIPEDTLN_DEBUG", "0") not in ("", "0"):
        click.echo(traceback.format_exc(), err=True, nl=False)
    click.echo("Error: " + " ".join(message.split()), err=True)
    return click.exceptions.Exit(exit_code)


def _find(entry: Entry) -> bool:
    return importlib.util.find_spec(f"pipedtln.cli.{entry.module}") is not None


@click.group(
    cls=LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="pipedtln", message="%(prog)s %(version)s")
def main() -> None:
    """A clean microphone for every app.

    pipedtln adds "DTLN Microphone" to your desktop: your microphone without noise and without
    the echo of what your loudspeakers play.
    """
