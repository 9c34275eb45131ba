"""What setup writes can be taken back exactly, also when it was interrupted anywhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pipedtln.install.files import edited, put_file, put_link, take_file, take_link
from pipedtln.install.journal import Journal


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def journal(home: Path) -> Journal:
    return Journal.open(home / "state" / "setup.json")


def put(home: Path, data: bytes = b"ours") -> bool:
    return put_file(journal(home), "unit", home / "conf" / "unit", data)


def take(home: Path) -> bool:
    return take_file(journal(home), home / "conf" / "unit")


def tree(home: Path) -> dict[str, bytes | str | None]:
    """Everything below ``home``: content of files, targets of links, None for folders."""
    if not home.exists():
        return {}
    return {
        str(path.relative_to(home)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(home.rglob("*"))
    }


@contextmanager
def interrupted_at(line: int) -> Iterator[None]:
    """Raise KeyboardInterrupt at the n-th line that pipedtln.install executes."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if "/pipedtln/install/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            count += 1
            if count == line:
                raise KeyboardInterrupt
        return trace

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(old)


def interruptions(action: Callable[[], object]) -> Iterator[int]:
    """Run ``action`` interrupted at its first line, its second, ... until it gets through."""
    line = 0
    while True:
        line += 1
        try:
            with interrupted_at(line):
                action()
        except KeyboardInterrupt:
            yield line
            continue
        return


def test_a_new_file_comes_and_goes_with_its_folders(home: Path) -> None:
    assert put(home)
    assert (home / "conf" / "unit").read_bytes() == b"ours"
    assert take(home)
    assert not home.exists()


def test_putting_the_same_again_changes_nothing(home: Path) -> None:
    put(home)
    before = tree(home)
    assert not put(home)
    assert tree(home) == before


def test_an_older_version_of_ours_is_replaced_and_removed(home: Path) -> None:
    put(home, b"version 1")
    assert put(home, b"version 2")
    assert (home / "conf" / "unit").read_bytes() == b"version 2"
    assert take(home)
    assert not home.exists()


def test_what_was_there_before_setup_comes_back(home: Path) -> None:
    (home / "conf").mkdir(parents=True)
    (home / "conf" / "unit").write_bytes(b"the user's \xff")
    before = tree(home)
    put(home, b"version 1")
    put(home, b"version 2")
    assert take(home)
    assert tree(home) == before


def test_a_file_edited_since_is_neither_overwritten_nor_removed(home: Path) -> None:
    put(home)
    (home / "conf" / "unit").write_bytes(b"edited")
    assert edited(journal(home), home / "conf" / "unit")
    assert not put(home, b"version 2")
    assert not take(home)
    assert tree(home) == {"conf": None, "conf/unit": b"edited"}


def test_a_file_that_the_user_removed_is_written_again_and_still_undone(home: Path) -> None:
    put(home)
    (home / "conf" / "unit").unlink()
    assert put(home)
    assert take(home)
    assert not home.exists()


def test_a_link_comes_and_goes_and_a_foreign_one_stays(home: Path) -> None:
    link, target = home / "wants" / "unit", home / "conf" / "unit"
    assert put_link(journal(home), "unit", link, target)
    assert not put_link(journal(home), "unit", link, target)
    take_link(journal(home), link)
    assert not home.exists()

    link.parent.mkdir(parents=True)
    link.symlink_to("/elsewhere")
    assert not put_link(journal(home), "unit", link, target)
    take_link(journal(home), link)
    assert str(link.readlink()) == "/elsewhere"


@pytest.mark.parametrize("existing", [None, b"the user's"])
def test_an_interruption_at_any_line_of_putting_is_undone_and_completed(
    home: Path, existing: bytes | None
) -> None:
    if existing is not None:
        (home / "conf").mkdir(parents=True)
        (home / "conf" / "unit").write_bytes(existing)
    else:
        home.mkdir()
    before = tree(home)
    link = home / "wants" / "unit"

    def put_all() -> None:
        put(home)
        put_link(journal(home), "unit", link, home / "conf" / "unit")

    def take_all() -> None:
        take_link(journal(home), link)
        take(home)

    points = 0
    for points in interruptions(put_all):
        take_all()
        assert tree(home) == before, f"interrupted at line {points}"
    take_all()
    for points in interruptions(put_all):
        put_all()
        assert tree(home)["conf/unit"] == b"ours"
        take_all()
        assert tree(home) == before, f"interrupted at line {points}, completed, undone"
    print(f"interrupted at each of {points} lines")
    assert points > 50


@pytest.mark.parametrize("existing", [None, b"the user's"])
def test_an_interruption_at_any_line_of_taking_is_completed(
    home: Path, existing: bytes | None
) -> None:
    home.mkdir()
    if existing is not None:
        (home / "conf").mkdir()
        (home / "conf" / "unit").write_bytes(existing)
    before = tree(home)

    def take_all() -> None:
        put(home)
        take(home)

    points = 0
    for points in interruptions(take_all):
        take(home)
        journal(home).tidy()
        assert tree(home) == before, f"interrupted at line {points}"
    assert points > 50


@pytest.mark.parametrize("existing", [None, b"the user's"])
def test_an_interrupted_upgrade_still_knows_both_versions_as_its_own(
    home: Path, existing: bytes | None
) -> None:
    home.mkdir()
    if existing is not None:
        (home / "conf").mkdir()
        (home / "conf" / "unit").write_bytes(existing)
    before = tree(home)
    put(home, b"version 1")
    for line in interruptions(lambda: put(home, b"version 2")):
        assert take(home), f"interrupted at line {line}"
        assert tree(home) == before, f"interrupted at line {line}"
        put(home, b"version 1")
