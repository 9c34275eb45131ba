"""Finds weights on this machine by their hash: the user's own folder first, then the cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from pipedtln.dtln.manifest import Model, ModelFile
from pipedtln.dtln.record import whole_files
from pipedtln.errors import ModelError

FOLDER_VARIABLE = "PIPEDTLN_MODELS_DIR"
"""Names a folder with weights in any layout, searched before the cache and never written to."""

PARTIAL = ".partial"
"""Folder in the cache where files stay until they are whole and checked."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Located:
    """A model whose weights are on this machine.

    ``files`` are those of the first and the second stage; ``alternate`` tells that they are not
    the canonical pair but another conversion that the manifest lists.
    """

    model: Model
    files: tuple[Path, Path]
    alternate: bool


class Store:
    """Weights on this machine.

    Parameters
    ----------
    cache : folder that pipedtln keeps weights in
    folder : the user's own folder, searched first, in any layout

    Every file is recognised by its hash, never by its name, each time it is asked for: a damaged
    one is not found.
    """

    def __init__(self, cache: Path, folder: Path | None = None) -> None:
        self.cache = cache
        self.folder = folder

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Store:
        """The store of this user: ``$PIPEDTLN_MODELS_DIR`` and the XDG data folder."""
        named = (os.environ if environ is None else environ).get(FOLDER_VARIABLE, "")
        folder = Path(named).expanduser() if named else None
        if folder is not None and not folder.is_dir():
            _log.warning("%s names %s, which is not a folder; ignored", FOLDER_VARIABLE, folder)
            folder = None
        cache = Path(platformdirs.user_data_dir("pipedtln", appauthor=False)) / "models"
        return cls(cache, folder)

    def find(self, model: Model) -> Located | None:
        """Find both stages of a model, the canonical pair before its alternates.

        A model that is built here is looked for in the folder of its name, where its hashes are.
        """
        for place in (self.folder, self.cache):
            if place is None:
                continue
            if model.derived_from is not None:
                built = whole_files(place / model.name, model.precision)
                if built:
                    return Located(model, built, alternate=False)
                continue
            by_size = _by_size(place)
            for position, pair in enumerate(model.pairs):
                first = _find_file(pair.files[0], by_size)
                second = _find_file(pair.files[1], by_size) if first else None
                if first and second:
                    return Located(model, (first, second), alternate=position > 0)
        return None

    def require(self, model: Model) -> Located:
        """Find both stages of a model.

        Raises
        ------
        ModelError
            If they are not on this machine.
        """
        located = self.find(model)
        if located is None:
            raise ModelError(
                f"the weights of {model.name} are not on this machine. "
                f"Get them with: pipedtln models fetch {model.name}"
            )
        return located

    def cache_path(self, model: Model, file: ModelFile) -> Path:
        """Where the cache keeps a file; names of different sources do not clash."""
        source = next(iter(file.paths))
        return self.cache / model.name / source / file.filename


def _by_size(folder: Path) -> dict[int, list[Path]]:
    """All files below a folder by their size, so that few need to be hashed."""
    found: dict[int, list[Path]] = {}
    for parent, folders, names in os.walk(folder):
        if PARTIAL in folders:
            folders.remove(PARTIAL)
        for name in sorted(names):
            path = Path(parent, name)
            try:
                if path.is_file():
                    found.setdefault(path.stat().st_size, []).append(path)
            except OSError:
                continue  # gone or not ours to look at
    return found


def _find_file(file: ModelFile, by_size: Mapping[int, list[Path]]) -> Path | None:
    if file.bytes is not None:
        candidates = by_size.get(file.bytes, [])
    else:
        # Of unknown size: weights bear this ending wherever they are published.
        candidates = [
            path for paths in by_size.values() for path in paths if path.suffix == ".tflite"
        ]
    for path in candidates:
        try:
            if file.is_content_of(path):
                return path
        except OSError as error:
            _log.warning("%s cannot be read and is passed over: %s", path, error)
    return None
