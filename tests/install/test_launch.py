"""The menu's entry starts this installation, whatever its path is made of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipedtln.install.launch import render
from pipedtln.resources import resource

SHIPPED = resource("desktop", "io.github.pipedtln.desktop").read_text()


def words(line: str) -> list[str]:
    """The arguments of an Exec line as the Desktop Entry Specification has them read."""
    text = line.removeprefix("Exec=").replace("\\\\", "\\")
    found: list[str] = []
    at, current, quoted, begun = 0, "", False, False
    while at < len(text):
        char = text[at]
        if char == "\\" and quoted:
            at += 1
            current += text[at]
        elif char == '"':
            quoted, begun = not quoted, True
        elif char == " " and not quoted:
            found, current, begun = [*found, current], "", False
        else:
            assert quoted or char not in "`$'&;|<>~*?#()", f"{char} must be quoted"
            current += char
        at += 1
    assert not quoted
    return [word.replace("%%", "%") for word in ([*found, current] if current or begun else found)]


def test_only_the_commands_change() -> None:
    rendered = render(SHIPPED).splitlines()
    for was, now in zip(SHIPPED.splitlines(), rendered, strict=True):
        if was.startswith("Exec="):
            assert words(now)[-len(was.split()) + 1 :] == was.split()[1:]
        else:
            assert now == was


@pytest.mark.parametrize("name", ["py thon", 'q"uote', "d$llar`", "back\\slash", "100%", "ü"])
def test_the_path_of_python_may_hold_anything(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(folder / "python3"))
    (line, *_) = [one for one in render(SHIPPED).splitlines() if one.startswith("Exec=")]
    assert words(line)[-4:] == [str(folder / "python3"), "-m", "pipedtln", "monitor"]


def test_the_command_of_the_entry_runs_from_anywhere(tmp_path: Path) -> None:
    (line, *_) = [one for one in render(SHIPPED).splitlines() if "mute" in one and "Exec" in one]
    said = subprocess.run(
        words(line),
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stderr.count("\n")) == (3, 1), said.stderr


def test_the_entry_is_valid_by_the_desktops_own_judgement(tmp_path: Path) -> None:
    (tmp_path / "it.desktop").write_text(render(SHIPPED))
    said = subprocess.run(
        ["desktop-file-validate", str(tmp_path / "it.desktop")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout
