"""One bridge for each runtime folder, so for each user session."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

from pipedtln.errors import ServiceError


def runtime_folder() -> Path:
    """Folder of the session: ``$XDG_RUNTIME_DIR/pipedtln``, or one under the temp folder."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        return Path(base) / "pipedtln"
    return Path(tempfile.gettempdir()) / f"pipedtln-{os.getuid()}"


class InstanceLock:
    """Held while a bridge runs; the kernel frees it however the process ends.

    Raises
    ------
    ServiceError
        On :meth:`acquire`, if another bridge runs; says which.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = (folder or runtime_folder()) / "lock"
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock and write our process id into it."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ServiceError(
                f"cannot write {self._path}: {error.strerror}; set XDG_RUNTIME_DIR to a folder of "
                "your own"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(file, 32).decode(errors="replace").strip() or "unknown"
            os.close(file)
            raise ServiceError(
                f"pipedtln already runs as process {owner}; see: pipedtln status"
            ) from error
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        self._file = file

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None
