"""Writes a sound file that is whole or absent: beside the target first, then in its place."""

from __future__ import annotations

import os
import secrets
import stat
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import soundfile as sf

from pipedtln.errors import InputError
from pipedtln.files.read import SoundInfo
from pipedtln.processor import Block

_EXTENSIONS = {
    "wav": "WAV",
    "flac": "FLAC",
    "ogg": "OGG",
    "oga": "OGG",
    "opus": "OGG",
    "mp3": "MP3",
    "aif": "AIFF",
    "aiff": "AIFF",
    "au": "AU",
    "snd": "AU",
    "caf": "CAF",
    "w64": "W64",
    "rf64": "RF64",
}

_KEPT_SUBTYPES = frozenset(
    ("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
)
"""Codings of one value per sample; those of whole blocks (ADPCM, GSM) would change the length."""

_FINE_SUBTYPES = frozenset(("PCM_24", "PCM_32", "FLOAT", "DOUBLE"))


def output_format(path: Path, like: SoundInfo) -> tuple[str, str]:
    """Choose libsndfile's format by the extension and the coding that is nearest to the input's.

    Raises
    ------
    InputError
        If no format goes by that extension.
    """
    extension = path.suffix.lower().lstrip(".")
    file_format = _EXTENSIONS.get(extension)
    if file_format is None or file_format not in sf.available_formats():
        known = ", ".join(f".{name}" for name in _EXTENSIONS)
        raise InputError(
            f"{path}: no sound format goes by the ending '{path.suffix}'; use one of {known}"
        )
    if extension == "opus":
        return file_format, "OPUS"
    if like.subtype in _KEPT_SUBTYPES and sf.check_format(file_format, like.subtype):
        return file_format, like.subtype
    if like.subtype in _FINE_SUBTYPES and sf.check_format(file_format, "PCM_24"):
        return file_format, "PCM_24"
    return file_format, str(sf.default_subtype(file_format))


class SoundWriter:
    """A mono sound file under construction, as a context.

    Samples go to a hidden file beside the target. Leaving the context without an exception puts
    it in the target's place in one step; leaving it with one, Ctrl-C included, removes it and
    the target stays as it was. A link is followed; an existing file keeps its permissions.

    Parameters
    ----------
    path : the target; its extension decides the format
    sample_rate : Hz
    like : the input, whose coding is kept where the format has it

    Raises
    ------
    InputError
        If the target cannot be written or its format cannot hold this rate.
    """

    def __init__(self, path: Path, sample_rate: int, like: SoundInfo) -> None:
        self.path = path
        file_format, subtype = output_format(path, like)
        self._target = writable_target(path)
        self._part = self._target.with_name(
            f".{self._target.name}.{secrets.token_hex(4)}{self._target.suffix}.part"
        )
        # Ctrl-C may come anywhere, also before the context is entered.
        self._discard = weakref.finalize(self, _remove, self._part)
        try:
            _create(self._part, self._target)
            self._file = sf.SoundFile(
                self._part, "w", sample_rate, 1, subtype=subtype, format=file_format
            )
        except OSError as error:
            raise InputError(
                f"{path} cannot be written ({error.strerror}); choose another place"
            ) from error
        except (sf.SoundFileError, ValueError) as error:
            room = _has_room(self._part)
            self._discard()
            if not room:
                raise InputError(f"{path} cannot be written; is the disk full?") from error
            raise InputError(
                f"{path}: {file_format} cannot hold sound of {sample_rate} Hz; use .wav or .flac"
            ) from error

    def write(self, block: Block) -> None:
        """Append float32 samples of shape (n,); integer codings clip at full scale."""
        try:
            self._file.write(block)
        except (sf.SoundFileError, OSError, AssertionError) as error:
            # soundfile asserts that libsndfile took every sample, which a full disk breaks
            raise InputError(f"{self.path} cannot be written; is the disk full?") from error

    def __enter__(self) -> SoundWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                _flush(self._part)
                self._part.replace(self._target)
        except (sf.SoundFileError, OSError) as failure:
            raise InputError(f"{self.path} cannot be written; is the disk full?") from failure
        finally:
            self._discard()


def writable_target(path: Path) -> Path:
    """Follow links to where ``path`` will be written.

    Raises
    ------
    InputError
        If something that is no plain file is there, or its folder is missing.
    """
    target = path.resolve()
    if target.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    if target.exists() and not target.is_file():
        raise InputError(f"{path} is not a plain file and will not be replaced; name another")
    if not target.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {target.parent}; make it")
    return target


def _create(part: Path, target: Path) -> None:
    """Make an empty file with the target's permissions, or those the umask gives."""
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    if target.exists():
        part.chmod(stat.S_IMODE(target.stat().st_mode))


def _has_room(part: Path) -> bool:
    """Whether a file takes a few bytes more: libsndfile does not tell why it refuses one."""
    try:
        part.write_bytes(bytes(4096))
    except OSError:
        return False
    return True


def _remove(part: Path) -> None:
    with suppress(OSError):
        part.unlink()


def _flush(part: Path) -> None:
    """Have the bytes on the disk before the name points at them."""
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
