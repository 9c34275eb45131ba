"""Every command that the documents name exists, with those arguments."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from pipedtln.cli.main import COMMANDS, main
from pipedtln.config import KEYS

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/user-guide.md", "docs/config.md", "docs/dbus.md", "docs/exit-codes.md")


def commands(page: str) -> list[str]:
    """Commands of ours in inline code and in blocks."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += [code.strip() for code in re.findall(r"`([^`\n]+)`", text)]
    return [line.split("|")[0] for line in lines if re.match(r"pipedtln [a-z]", line)]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one_that_the_program_takes(page: str) -> None:
    found = commands(page)
    for line in found:
        name, *arguments = shlex.split(line)[1:]
        command = main.get_command(click.Context(main), name)
        assert command is not None, f"{page}: {line}"
        if isinstance(command, click.Group) and arguments:
            sub = command.get_command(click.Context(command), arguments.pop(0))
            assert sub is not None, f"{page}: {line}"
            command = sub
        options = {one for parameter in command.params for one in parameter.opts}
        options |= {one for parameter in command.params for one in parameter.secondary_opts}
        for argument in arguments:
            if argument.startswith("-"):
                assert argument in {*options, "--help"}, f"{page}: {line}"
        if name in ("set", "get") and arguments and arguments[0] != "KEY":
            assert arguments[0] in KEYS, f"{page}: {line}"
    assert found


def test_the_guide_names_every_command_that_a_user_steers_with() -> None:
    named = {line.split()[1] for line in commands("docs/user-guide.md")}
    assert {name for name, entry in COMMANDS.items() if entry.section != "More"} <= named
    assert {"record", "doctor", "process", "devices", "manual"} <= named


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_points_to_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"
