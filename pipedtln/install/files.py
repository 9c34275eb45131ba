"""Files that setup puts into the user's folders, and takes away again unless they were edited."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from pipedtln.atomic import sync_folder, write_atomic
from pipedtln.errors import InstallError
from pipedtln.install.journal import Deed, Journal, missing_folders, remove_folders


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def edited(journal: Journal, path: Path) -> bool:
    """Whether a file of ours is no longer as setup wrote it (and still exists)."""
    deed = journal.find("file", str(path))
    data = _read(path)
    return deed is not None and data is not None and digest(data) not in deed["ours"]


def put_file(journal: Journal, step: str, path: Path, data: bytes) -> bool:
    """Write a file and note how to undo that; what was there before is kept in the journal.

    Returns
    -------
    Whether the file changed; one that the user edited since is left alone.

    Raises
    ------
    InstallError
    """
    deed = journal.find("file", str(path))
    now = _read(path)
    if deed is None or now is None:
        # An earlier deed whose file is gone: the user removed ours, and what was there before
        # setup is still what teardown owes.
        before = deed["before"] if deed else None if now is None else _encode(now)
        earlier = deed["ours"] if deed else []
        folders = deed["folders"] if deed else []
    elif digest(now) not in deed["ours"]:
        if _encode(now) != deed["before"]:
            return False
        before, earlier, folders = deed["before"], deed["ours"], deed["folders"]
    else:
        before, earlier, folders = deed["before"], deed["ours"], deed["folders"]
    ours = digest(data)
    folders = folders + [name for name in missing_folders(path.parent) if name not in folders]
    # Both hashes stay until the new content is in place: either may be what an interruption leaves.
    both = [*[one for one in earlier if one != ours], ours]
    noted: Deed = {
        "kind": "file",
        "name": str(path),
        "step": step,
        "before": before,
        "folders": folders,
    }
    journal.note({**noted, "ours": both})
    if now != data:
        try:
            write_atomic(path, data)
        except OSError as error:
            raise InstallError(
                f"cannot write {path}: {error.strerror or error}; check the folder's permissions "
                "and the free space"
            ) from error
    journal.note({**noted, "ours": [ours]})
    return now != data


def take_file(journal: Journal, path: Path) -> bool:
    """Undo :func:`put_file`.

    Returns
    -------
    Whether all is as before; False when the user edited the file, which stays.

    Raises
    ------
    InstallError
    """
    deed = journal.find("file", str(path))
    if deed is None:
        return True
    now = _read(path)
    ours = now is not None and digest(now) in deed["ours"]
    try:
        if ours and deed["before"] is not None:
            write_atomic(path, base64.b64decode(deed["before"]))
        elif ours:
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
    except OSError as error:
        raise InstallError(f"cannot remove {path}: {error.strerror or error}") from error
    remove_folders(deed["folders"])
    journal.forget(deed)
    return ours or now is None or _encode(now) == deed["before"]


def put_link(journal: Journal, step: str, path: Path, target: Path) -> bool:
    """Make a symbolic link and note how to undo that; an existing entry is left alone.

    Returns
    -------
    Whether the link was made.

    Raises
    ------
    InstallError
    """
    if path.is_symlink() or path.exists():
        return False
    deed = journal.find("link", str(path)) or {"folders": []}
    folders = deed["folders"] + [
        name for name in missing_folders(path.parent) if name not in deed["folders"]
    ]
    journal.note(
        {"kind": "link", "name": str(path), "step": step, "target": str(target), "folders": folders}
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    except OSError as error:
        raise InstallError(f"cannot make {path}: {error.strerror or error}") from error
    sync_folder(path.parent)
    return True


def take_link(journal: Journal, path: Path) -> None:
    """Undo :func:`put_link`; a link that leads elsewhere by now stays.

    Raises
    ------
    InstallError
    """
    deed = journal.find("link", str(path))
    if deed is None:
        return
    try:
        if path.is_symlink() and str(path.readlink()) == deed["target"]:
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
    except OSError as error:
        raise InstallError(f"cannot remove {path}: {error.strerror or error}") from error
    remove_folders(deed["folders"])
    journal.forget(deed)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InstallError(f"cannot read {path}: {error.strerror or error}") from error


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
