"""The command line loads little, reads well, and turns every error into a line and a code."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipedtln import __version__
from pipedtln.cli.main import COMMANDS, LazyGroup, main
from pipedtln.errors import ModelError, PipedtlnError


def group_with(action: Callable[[], object]) -> LazyGroup:
    """The real group with one command that does ``action``."""

    class Group(LazyGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            return click.Command("act", callback=action)

    return Group("pipedtln")


def raising(error: BaseException) -> Callable[[], object]:
    def action() -> None:
        raise error

    return action


def available() -> list[str]:
    return main.list_commands(click.Context(main))


def test_version_is_one_line() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.output) == (0, f"pipedtln {__version__}\n")


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in available():
        command = main.get_command(click.Context(main), name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, inner) for inner in command.list_commands(click.Context(command))]
    return found


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_each_command_shows_examples_in_a_terminals_width(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*words, "--help"], terminal_width=80)
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    examples = result.output[result.output.index("Examples:") :]
    assert " ".join(("pipedtln", *words)) in examples


def test_help_fits_a_terminal_and_shows_the_newcomers_path() -> None:
    result = CliRunner().invoke(main, ["--help"], terminal_width=80)
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    steps = ["pipedtln setup", "DTLN Microphone", "pipedtln status", "pipedtln teardown"]
    epilog = result.output[result.output.index("First steps:") :]
    positions = [epilog.index(step) for step in steps]
    assert positions == sorted(positions)
    for name in available():
        assert COMMANDS[name].summary in result.output


def test_help_imports_neither_numpy_nor_audio_nor_subcommands() -> None:
    code = (
        "import sys\n"
        "from pipedtln.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name in\n"
        "  ('numpy', 'pulsectl', 'rich', 'dbus_fast', 'tomlkit', 'pipedtln.cli.setup')],\n"
        "  file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("wish", [None, "3"])
def test_numpy_starts_no_thread_for_each_core_unless_the_user_wants_them(
    wish: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os, pipedtln.cli, numpy; print(len(os.listdir('/proc/self/task')));"
        "print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if wish is not None:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", wish)
    running, asked = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert asked == (wish or "1")
    assert (running == "1") == (wish is None or os.cpu_count() == 1)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_summary_that_its_own_help_gives(name: str) -> None:
    assert name in available()
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert (command.help or "").strip().splitlines()[0] == COMMANDS[name].summary
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0


def test_an_error_of_ours_is_one_line_and_its_code() -> None:
    result = CliRunner().invoke(group_with(raising(ModelError("no model\n'x'"))), ["act"])
    assert result.exit_code == ModelError.exit_code
    assert result.stderr == "Error: no model 'x'\n"


def test_all_documented_codes_are_distinct_from_bugs_and_interruptions() -> None:
    pending, codes = [PipedtlnError], set()
    while pending:
        kind = pending.pop()
        codes.add(kind.exit_code)
        pending += kind.__subclasses__()
    assert codes == {1, 2, 3, 4, 5, 6, 7}


def test_a_bug_is_one_line_with_a_hint_and_code_70(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIPEDTLN_DEBUG", raising=False)
    result = CliRunner().invoke(group_with(raising(KeyError("k"))), ["act"])
    assert result.exit_code == 70
    assert result.stderr.count("\n") == 1
    assert "KeyError" in result.stderr
    assert "PIPEDTLN_DEBUG=1" in result.stderr


def test_debug_shows_the_traceback_before_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPEDTLN_DEBUG", "1")
    result = CliRunner().invoke(group_with(raising(KeyError("k"))), ["act"])
    assert result.exit_code == 70
    assert result.stderr.startswith("Traceback")
    assert result.stderr.splitlines()[-1].startswith("Error: a bug in pipedtln")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interruption_is_code_130_without_a_traceback(error: BaseException) -> None:
    result = CliRunner().invoke(group_with(raising(error)), ["act"])
    assert result.exit_code == 130
    assert result.stderr == "Error: interrupted\n"


def test_ctrl_c_ends_a_real_process_with_130(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = (
        "import click, pathlib, sys, time\n"
        "from pipedtln.cli.main import LazyGroup\n"
        "class Group(LazyGroup):\n"
        "  def get_command(self, ctx, name):\n"
        "    return click.Command('act', callback=lambda: (pathlib.Path(sys.argv[2]).touch(),\n"
        "      time.sleep(30)), params=[click.Argument(['x'], expose_value=False)])\n"
        "Group('pipedtln')()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "act", str(ready)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 20
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (130, "Error: interrupted\n")


def test_an_unknown_command_exits_2_and_shows_where_help_is() -> None:
    result = CliRunner().invoke(main, ["frobnicate"])
    assert result.exit_code == 2
    assert "No such command 'frobnicate'" in result.stderr
    assert "--help" in result.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipedtln", "completion", "bash"],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_PIPEDTLN_COMPLETE" in result.stdout


def test_bash_completes_subcommands_for_real() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipedtln"],
        env={**os.environ, "_PIPEDTLN_COMPLETE": "bash_complete", "COMP_WORDS": "pipedtln comp",
             "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert "plain,completion" in done.stdout


def test_all_named_modules_are_python_names() -> None:
    for entry in COMMANDS.values():
        assert entry.module.isidentifier()
    assert importlib.import_module("pipedtln.cli.completion")
