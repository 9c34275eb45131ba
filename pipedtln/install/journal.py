"""What setup did, written down before it is done, so that teardown can undo exactly that.

The journal is ``$XDG_STATE_HOME/pipedtln/setup.json``: a list of deeds in the order in which they
were begun. A deed is noted first and done then; an interruption in between leaves a deed that was
never done, and undoing it finds nothing to undo.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs

from pipedtln.atomic import sync_folder, write_atomic
from pipedtln.errors import InstallError

FORMAT = 1
"""Version of the journal's layout that this release reads and writes."""

Deed = dict[str, Any]
"""A ``kind`` (``"folder"``, ``"file"``, ``"default"`` ...), a ``name`` and what undoing needs."""


def journal_path() -> Path:
    """``$XDG_STATE_HOME/pipedtln/setup.json``."""
    return Path(platformdirs.user_state_path("pipedtln")) / "setup.json"


class Journal:
    """The deeds of setup on disk; every change is there when a method returns."""

    def __init__(self, path: Path, deeds: list[Deed], folders: list[str]) -> None:
        self.path = path
        self._deeds = deeds
        self._folders = folders

    @classmethod
    def open(cls, path: Path | None = None) -> Journal:
        """Read the journal; an empty one where there is none.

        Raises
        ------
        InstallError
            If it cannot be read, is damaged, or was written by a newer release.
        """
        path = path or journal_path()
        try:
            return cls(path, *_parse(path, path.read_bytes()))
        except FileNotFoundError:
            return cls(path, [], missing_folders(path.parent))
        except OSError as error:
            raise InstallError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise InstallError(
                f"{path} is damaged; move it away, run 'pipedtln setup' again, then teardown"
            ) from error

    @property
    def deeds(self) -> list[Deed]:
        """Copies of the deeds in the order in which they were begun."""
        return [dict(deed) for deed in self._deeds]

    def find(self, kind: str, name: str) -> Deed | None:
        """The deed of that kind and name."""
        for deed in self._deeds:
            if (deed["kind"], deed["name"]) == (kind, name):
                return dict(deed)
        return None

    def note(self, deed: Deed) -> None:
        """Write a deed down, in place of an earlier one of its kind and name.

        Raises
        ------
        InstallError
        """
        changed = [dict(deed) if _same(deed, old) else old for old in self._deeds]
        if not any(_same(deed, old) for old in self._deeds):
            changed.append(dict(deed))
        if changed != self._deeds:
            self._write(changed)

    def forget(self, deed: Deed) -> None:
        """Strike a deed that is undone; the last one takes the file and its folders away.

        Raises
        ------
        InstallError
        """
        self._write([old for old in self._deeds if not _same(deed, old)])

    def tidy(self) -> None:
        """Remove the folder of an empty journal, should an interruption have left it."""
        if not self._deeds:
            remove_folders([str(self.path.parent)])

    def _write(self, deeds: list[Deed]) -> None:
        try:
            if deeds:
                data = {"version": FORMAT, "folders": self._folders, "deeds": deeds}
                write_atomic(self.path, json.dumps(data, indent=1).encode(), 0o600)
            else:
                self.path.unlink(missing_ok=True)
                remove_folders(self._folders)
        except OSError as error:
            raise InstallError(
                f"cannot write {self.path}: {error.strerror or error}; check the folder's "
                "permissions and the free space"
            ) from error
        self._deeds = deeds


def _parse(path: Path, raw: bytes) -> tuple[list[Deed], list[str]]:
    data = json.loads(raw)
    version = data["version"]
    if version > FORMAT:
        raise InstallError(
            f"{path} was written by a newer pipedtln; use that version for setup and teardown"
        )
    deeds = [
        {**deed, "kind": str(deed["kind"]), "name": str(deed["name"])} for deed in data["deeds"]
    ]
    return deeds, [str(folder) for folder in data["folders"]]


def _same(one: Deed, other: Deed) -> bool:
    return (one["kind"], one["name"]) == (other["kind"], other["name"])


def missing_folders(folder: Path) -> list[str]:
    """The folders that making ``folder`` would make, outermost first."""
    missing = []
    while not folder.exists():
        missing.append(str(folder))
        folder = folder.parent
    return missing[::-1]


def remove_folders(folders: list[str]) -> None:
    """Remove folders, innermost first, as far as they are empty."""
    for folder in reversed(folders):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return
        sync_folder(Path(folder).parent)


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold off a second setup or teardown of the same user.

    Raises
    ------
    InstallError
        If one is under way.
    """
    home = Path(platformdirs.user_state_path()).expanduser()
    while not home.exists():
        home = home.parent
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InstallError("another setup or teardown is under way; wait for it") from None
        yield
    finally:
        os.close(descriptor)
