"""A small file is the old one or the new one, whatever interrupts its writing."""

from __future__ import annotations

from pathlib import Path

from pipedtln.atomic import write_atomic
from tests.interrupt import interrupted_everywhere


def test_ctrl_c_at_any_line_leaves_one_whole_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"old")
    seen = []
    for _ in interrupted_everywhere("pipedtln.atomic", lambda: write_atomic(path, b"new")):
        assert [one.name for one in tmp_path.iterdir()] == ["config.toml"]
        seen.append(path.read_bytes())
        path.write_bytes(b"old")
    assert len(seen) > 8
    assert set(seen) == {b"old", b"new"}
    write_atomic(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
