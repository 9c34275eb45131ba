"""A folder as programs find it on a full or read-only disk: real mounts, in their own namespace."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'
_FULL = """\
mkdir "$1.kept" && cp -a "$1/." "$1.kept" && mount -t tmpfs -o size=1m full "$1" &&
cp -a "$1.kept/." "$1" && ! dd if=/dev/zero of="$1/ballast" bs=4k 2>/dev/null"""
SCRIPTS = {"read-only": _READ_ONLY, "full": _FULL}


@dataclass(frozen=True)
class Mounted:
    """A mount namespace, kept by a process that waits in it."""

    pid: int
    folder: Path
    how: str

    def command(self, *words: str) -> list[str]:
        """What runs a command within."""
        enter = ["nsenter", f"--target={self.pid}", "--user", "--mount", "--preserve-credentials"]
        if uid := os.getuid():
            # Back to who one was: programs that prove who they are would else say root.
            enter += ["unshare", "--user", f"--map-user={uid}", f"--map-group={os.getgid()}"]
        return [*enter, *words]

    def run(self, *words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command within and wait for it."""
        return subprocess.run(
            self.command(*words),
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )

    def files(self) -> dict[str, bytes]:
        """All files below the folder as they are within, by their path there."""
        inside = Path(f"/proc/{self.pid}/root") / self.folder.relative_to("/")
        return {
            str(path.relative_to(inside)): path.read_bytes()
            for path in sorted(inside.rglob("*"))
            if path.is_file() and path.name != "ballast"
        }


@contextmanager
def mounted(folder: Path, how: str) -> Iterator[Mounted]:
    """Make a folder read-only or its disk full, for those who are entered by :class:`Mounted`."""
    script = f"{SCRIPTS[how]} && echo ready && exec cat"
    with subprocess.Popen(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        try:
            assert keeper.stdout.readline() == "ready\n", f"{folder} cannot be made {how}"
            yield Mounted(keeper.pid, folder, how)
        finally:
            keeper.stdin.close()
