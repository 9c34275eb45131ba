"""The journal holds what setup did before it is done, on disk, and leaves nothing when empty."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipedtln.errors import InstallError
from pipedtln.install.journal import FORMAT, Journal, only_one, remove_folders

ONE = {"kind": "file", "name": "/a", "step": "unit", "before": None}
TWO = {"kind": "default", "name": "sink", "step": "defaults", "before": "real"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "pipedtln" / "setup.json"


def test_a_noted_deed_is_on_disk_at_once_and_in_order(path: Path) -> None:
    journal = Journal.open(path)
    journal.note(ONE)
    assert Journal.open(path).deeds == [ONE]
    journal.note(TWO)
    assert Journal.open(path).deeds == [ONE, TWO]
    assert path.stat().st_mode & 0o777 == 0o600


def test_noting_again_replaces_in_place(path: Path) -> None:
    journal = Journal.open(path)
    journal.note(ONE)
    journal.note(TWO)
    journal.note({**ONE, "before": "x"})
    assert Journal.open(path).deeds == [{**ONE, "before": "x"}, TWO]


def test_the_last_forgotten_deed_takes_the_file_and_new_folders_away(
    path: Path, tmp_path: Path
) -> None:
    journal = Journal.open(path)
    journal.note(ONE)
    Journal.open(path).forget(ONE)
    assert list(tmp_path.iterdir()) == []


def test_folders_with_something_else_in_them_stay(path: Path) -> None:
    journal = Journal.open(path)
    journal.note(ONE)
    other = path.parent.parent / "other"
    other.touch()
    journal.forget(ONE)
    assert other.exists()
    assert not path.parent.exists()


def test_deeds_are_copies(path: Path) -> None:
    journal = Journal.open(path)
    journal.note(ONE)
    journal.deeds[0]["name"] = "changed"
    assert journal.deeds == [ONE]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"version": 1}', '{"version": 1, "deeds": [{}], "folders": []}',
     '{"version": "x", "deeds": [], "folders": []}', '{"version": 1, "deeds": 3, "folders": []}'],
)  # fmt: skip
def test_a_damaged_journal_is_one_line_and_stays(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InstallError, match=f"{path} is damaged; move it away"):
        Journal.open(path)
    assert path.read_text() == text


def test_a_journal_of_a_newer_release_is_refused(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"version": FORMAT + 1, "deeds": [], "folders": []}))
    with pytest.raises(InstallError, match="newer pipedtln"):
        Journal.open(path)


def test_a_place_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(InstallError, match=r"cannot write /proc/none/setup.json: .*; check"):
        Journal.open(Path("/proc/none/setup.json")).note(ONE)


def test_removing_folders_that_are_gone_is_no_error(tmp_path: Path) -> None:
    remove_folders([str(tmp_path / "a"), str(tmp_path / "a" / "b")])
    assert tmp_path.exists()


def test_a_second_setup_is_refused_while_one_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    code = (
        "from pipedtln.install.journal import only_one\n"
        "from pipedtln.errors import InstallError\n"
        "try:\n"
        "  with only_one(): print('entered')\n"
        "except InstallError as error: print(error)\n"
    )

    def second() -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        )
        return done.stdout.strip()

    with only_one():
        assert second() == "another setup or teardown is under way; wait for it"
    assert second() == "entered"
    assert list(tmp_path.iterdir()) == []
