"""The data files that ship with the package: models/, pipewire/, systemd-user/, desktop/."""

from __future__ import annotations

from pathlib import Path

from pipedtln.errors import PipedtlnError


def resource(folder: str, name: str) -> Path:
    """Path of a shipped file, from any working directory.

    In a wheel the folders lie under ``pipedtln/_data``; in a checkout at its top level.

    Raises
    ------
    PipedtlnError
        If the installation lacks the file.
    """
    package = Path(__file__).resolve().parent
    for base in (package / "_data", package.parent):
        path = base / folder / name
        if path.is_file():
            return path
    raise PipedtlnError(f"{folder}/{name} is missing from this installation; reinstall pipedtln")
