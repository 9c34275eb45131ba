"""The networks that pipedtln knows: ``models/manifest.toml``, typed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError

from pipedtln.errors import ModelError
from pipedtln.resources import resource

_CHUNK = 1 << 20
_KINDS = ("ns", "aec")
_SOURCE_KINDS = ("https", "npm")


@dataclass(frozen=True)
class Source:
    """A place that publishes weights.

    ``kind`` is ``"https"`` (``url`` + path is a file) or ``"npm"`` (``package`` at ``version`` is
    a tarball of ``bytes``, a path one of its members).
    """

    name: str
    kind: str
    licence: str
    authors: str
    url: str = ""
    package: str = ""
    version: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class ModelFile:
    """One stage's weights, known by their hash.

    ``paths`` tells where each source (by name) keeps the file. ``sha256`` and ``bytes`` are None
    for files of which only git's blob id (``git_blob``) is known.
    """

    paths: Mapping[str, str]
    sha256: str | None = None
    bytes: int | None = None
    git_blob: str | None = None

    @property
    def filename(self) -> str:
        """The name under which its first source publishes it."""
        return PurePosixPath(next(iter(self.paths.values()))).name

    @property
    def identity(self) -> str:
        """The hash that decides, with its kind, for people to read."""
        return f"SHA-256 {self.sha256}" if self.sha256 else f"git blob {self.git_blob}"

    def is_content_of(self, path: Path) -> bool:
        """Whether a file holds exactly these weights.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        size = path.stat().st_size
        if self.bytes is not None and size != self.bytes:
            return False
        if self.sha256 is not None:
            return digest(path) == self.sha256
        return digest(path, as_git_blob=True) == self.git_blob


@dataclass(frozen=True)
class Pair:
    """The files of the first and the second stage, converted together."""

    files: tuple[ModelFile, ModelFile]


@dataclass(frozen=True)
class Model:
    """A network by name.

    ``kind`` is ``"ns"`` (noise suppression) or ``"aec"`` (echo cancellation); ``units`` the size
    of its LSTM layers; ``precision`` ``"int8"``, ``"float"``, ``"row8"`` or ``"block8"``.
    ``pairs`` has the canonical pair first, then the alternates in the order of preference. A model
    that nobody publishes has no pair: it is built on this machine from the one that
    ``derived_from`` names.
    """

    name: str
    kind: str
    units: int
    precision: str
    licence: str
    authors: str
    pairs: tuple[Pair, ...]
    derived_from: str | None = None


@dataclass(frozen=True)
class Manifest:
    """All models and sources; see ``models/README.md``."""

    models: Mapping[str, Model]
    sources: Mapping[str, Source]
    default: tuple[str, ...]
    """Names that are fetched when none are given."""
    spare: tuple[str, ...]
    """Names that are taken instead where the default is not to be had."""
    auto: tuple[str, ...]
    """Names that ``"auto"`` tries, best first."""

    def model(self, name: str) -> Model:
        """Look a model up.

        Raises
        ------
        ModelError
            If there is none of that name.
        """
        try:
            return self.models[name]
        except KeyError:
            raise ModelError(
                f"no model named '{name}'. Choose one of: {', '.join(self.models)}"
            ) from None


def load_manifest(path: Path | None = None) -> Manifest:
    """Read the shipped manifest, once, or another one of its form.

    Raises
    ------
    ModelError
        If the file is not a manifest.
    PipedtlnError
        If the installation lacks it.
    """
    return _shipped() if path is None else _read(path)


@cache
def _shipped() -> Manifest:
    # Each model that is looked for asks for it, and to read it takes some 30 ms.
    return _read(resource("models", "manifest.toml"))


def _read(path: Path) -> Manifest:
    try:
        data = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
        sources = {entry["name"]: Source(**entry) for entry in data["sources"]}
        models = {entry["name"]: _model(entry) for entry in data["models"]}
        default, spare, auto = (tuple(data[name]) for name in ("default", "spare", "auto"))
        manifest = Manifest(models, sources, default, spare, auto)
        _check(manifest)
    except (OSError, ParseError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        why = f"lacks {error}" if isinstance(error, KeyError) else error
        raise ModelError(f"{path} is not a model manifest: {why}. Reinstall pipedtln") from error
    return manifest


def digest(path: Path, *, as_git_blob: bool = False) -> str:
    """Hexadecimal SHA-256 of a file, or the id that git gives its content (SHA-1).

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        if as_git_blob:
            hasher = hashlib.sha1(usedforsecurity=False)
            hasher.update(b"blob %d\0" % path.stat().st_size)
        else:
            hasher = hashlib.sha256()
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()


def _model(entry: dict[str, Any]) -> Model:
    derived_from = entry.get("derived_from")
    pairs = [] if derived_from else [_pair(entry["files"])]
    pairs += [_pair(alternate["files"]) for alternate in entry.get("alternates", [])]
    return Model(
        name=entry["name"],
        kind=entry["kind"],
        units=entry["units"],
        precision=entry["precision"],
        licence=entry["licence"],
        authors=entry["authors"],
        pairs=tuple(pairs),
        derived_from=derived_from,
    )


def _pair(entries: list[dict[str, Any]]) -> Pair:
    first, second = (ModelFile(**entry) for entry in entries)
    return Pair((first, second))


def _check(manifest: Manifest) -> None:
    for source in manifest.sources.values():
        if source.kind not in _SOURCE_KINDS:
            raise ValueError(f"source {source.name} is of unknown kind '{source.kind}'")
    for name in (*manifest.default, *manifest.spare, *manifest.auto):
        if name not in manifest.models:
            raise ValueError(f"'{name}' is named but not described")
    for model in manifest.models.values():
        if model.kind not in _KINDS:
            raise ValueError(f"model {model.name} is of unknown kind '{model.kind}'")
        origin = manifest.models.get(model.derived_from or model.name)
        if origin is None or not origin.pairs or origin.kind != model.kind:
            raise ValueError(f"{model.name} is derived from what is not to be had")
        for file in (file for pair in model.pairs for file in pair.files):
            if not (file.sha256 or file.git_blob):
                raise ValueError(f"a file of {model.name} has no hash")
            unknown = set(file.paths) - set(manifest.sources)
            if unknown or not file.paths:
                raise ValueError(f"{model.name} has files of unknown source {sorted(unknown)}")
