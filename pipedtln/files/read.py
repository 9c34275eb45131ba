"""Reads one channel of a sound file in pieces, at whatever rate is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile as sf
import soxr

from pipedtln.errors import InputError
from pipedtln.processor import Block

_UNKNOWN_FRAMES = 1 << 62
"""libsndfile reports a number of this size when a stream does not tell its length."""


@dataclass(frozen=True)
class SoundInfo:
    """What the head of a sound file says.

    ``frames`` is None where the file does not tell; it may be off for lossy formats.
    """

    path: Path
    sample_rate: int
    channels: int
    frames: int | None
    format: str
    subtype: str

    @property
    def seconds(self) -> float | None:
        """Duration, where the file tells it."""
        return None if self.frames is None else self.frames / self.sample_rate


class MonoReader:
    """One channel of a sound file as float32 samples, resampled while it is read.

    Memory stays constant whatever the length: one chunk of the file and what the resampler
    holds. Time is kept exactly: sample k of the output is at k / rate seconds.

    Parameters
    ----------
    path : any format libsndfile reads
    rate : Hz of the samples that :meth:`take` gives; None keeps the file's own
    channel : 0 is the first; negative counts from the end, -1 is the last
    chunk : frames to read at a time; does not change the result

    Raises
    ------
    InputError
        If the file is missing, no sound or empty, or has no such channel. :meth:`take` raises
        it for samples that are not finite and for damaged data.
    """

    def __init__(
        self, path: Path, *, rate: int | None = None, channel: int = 0, chunk: int = 16_384
    ) -> None:
        self._file = _open(path)
        try:
            self.info = _describe(self._file, path)
            self._channel = _channel_index(self.info, channel)
        except InputError:
            self._file.close()
            raise
        self.rate = rate or self.info.sample_rate
        self.frames_read = 0
        self._chunk = chunk
        self._ended = False
        self._held: Block = np.zeros(0, np.float32)
        self._resampler = (
            None
            if self.rate == self.info.sample_rate
            else soxr.ResampleStream(self.info.sample_rate, self.rate, 1, dtype="float32")
        )

    @property
    def ended(self) -> bool:
        """Whether every sample has been taken."""
        return self._ended and not len(self._held)

    def take(self, count: int) -> Block:
        """Give the next ``count`` samples; fewer only at the end of the file, then none.

        Returns
        -------
        float32, shape (<= count,), in memory of its own
        """
        pieces = [self._held]
        held = len(self._held)
        # one sample further than asked for, so that `ended` is true with the last of them
        while held <= count and not self._ended:
            piece = self._read()
            pieces.append(piece)
            held += len(piece)
        joined = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        self._held = joined[count:]
        taken: Block = joined[:count].copy()
        return taken

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()

    def __enter__(self) -> MonoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> Block:
        try:
            frames = self._file.read(self._chunk, dtype="float32", always_2d=True)
        except sf.SoundFileError as error:
            raise InputError(
                f"{self.info.path} is damaged after {self._position():.3f} s ({_reason(error)}); "
                "repair or convert it first"
            ) from error
        self._ended = len(frames) == 0
        if self._ended and self.frames_read == 0:
            raise InputError(
                f"{self.info.path} has no samples in it; give a recording that has some"
            )
        samples: Block = np.ascontiguousarray(frames[:, self._channel])
        finite = np.isfinite(samples)
        if not finite.all():
            at = (self.frames_read + int(np.argmin(finite))) / self.info.sample_rate
            raise InputError(
                f"{self.info.path} has a sample that is not a number (NaN or infinite) "
                f"at {at:.3f} s; repair or convert it first"
            )
        self.frames_read += len(samples)
        if self._resampler is None:
            return samples
        resampled: Block = self._resampler.resample_chunk(samples, last=self._ended)
        return resampled

    def _position(self) -> float:
        return self.frames_read / self.info.sample_rate


def _open(path: Path) -> sf.SoundFile:
    if not path.exists():
        raise InputError(f"{path} does not exist; check the name")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a sound file in it")
    try:
        with path.open("rb"):
            pass
        return sf.SoundFile(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its rights") from error
    except (sf.SoundFileError, TypeError) as error:
        # TypeError: soundfile asks for a rate when the name ends in .raw
        if path.is_file() and path.stat().st_size == 0:
            raise InputError(f"{path} is empty; give a recording that has sound in it") from error
        raise InputError(
            f"{path} is not sound that libsndfile reads; convert it to WAV or FLAC"
        ) from error


def _describe(file: sf.SoundFile, path: Path) -> SoundInfo:
    return SoundInfo(
        path=path,
        sample_rate=int(file.samplerate),
        channels=int(file.channels),
        frames=None if file.frames >= _UNKNOWN_FRAMES else int(file.frames),
        format=str(file.format),
        subtype=str(file.subtype),
    )


def _channel_index(info: SoundInfo, channel: int) -> int:
    if not -info.channels <= channel < info.channels:
        has = "one channel, 0" if info.channels == 1 else f"channels 0 to {info.channels - 1}"
        raise InputError(f"{info.path} has no channel {channel}; it has {has}")
    return channel % info.channels


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return text.removeprefix("Error : ")
