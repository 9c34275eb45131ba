"""The man page and docs/exit-codes.md say what the program does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pipedtln.cli.main import COMMANDS
from pipedtln.cli.manual import exit_codes, man_page

DOCS = Path(__file__).parents[2] / "docs"


def test_the_man_page_has_every_command_and_exit_code() -> None:
    page = man_page()
    for name in COMMANDS:
        assert re.search(rf"^\.SS pipedtln {name}\b", page, re.MULTILINE), name
    for code, _ in exit_codes():
        assert f".B {code}\n" in page
    assert "\b" not in page


def test_the_man_page_is_without_fault() -> None:
    page = man_page()
    try:
        said = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-Wbreak"],
            input=page,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except FileNotFoundError:
        pytest.fail("groff is not installed (package: groff-base)", pytrace=False)
    assert said.stderr == ""
    assert "pipedtln bypass" in said.stdout


def test_every_exit_code_is_documented() -> None:
    text = (DOCS / "exit-codes.md").read_text()
    documented = [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert documented == [code for code, _ in exit_codes()]
