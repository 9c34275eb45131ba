"""Ordinary programs that play to and record from a private server: pacat and parecord."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
from numpy.typing import NDArray

from pipedtln.errors import InputError, ServerError

Samples = NDArray[np.float32]


class Playback:
    """A file or an array that a ``pacat`` plays; a context manager that stops it.

    Parameters
    ----------
    sound : path of an audio file, or float32 of shape (n,) or (n, channels), in [-1, 1]
    sink : sink to play to, None for the default
    env : environment of the private server
    folder : where the temporary raw file goes
    rate : Hz, of an array
    times : how often it is played, without a gap
    latency_ms : what the program asks of the server
    """

    def __init__(
        self,
        sound: Path | str | Samples,
        sink: str | None,
        env: Mapping[str, str],
        folder: Path,
        *,
        rate: int = 16_000,
        times: int = 1,
        latency_ms: int = 50,
    ) -> None:
        if isinstance(sound, (str, Path)):
            try:
                samples, rate = soundfile.read(sound, dtype="float32", always_2d=True)
            except (OSError, soundfile.LibsndfileError) as error:
                raise InputError(f"{sound} is not audio that can be played: {error}") from error
        else:
            samples = np.asarray(sound, dtype=np.float32)
            samples = samples.reshape(len(samples), -1)
        self.seconds = times * len(samples) / rate
        command = [
            _program("pacat"),
            "--playback",
            "--raw",
            "--format=float32le",
            f"--rate={rate}",
            f"--channels={samples.shape[1]}",
            f"--latency-msec={latency_ms}",
        ]
        if sink is not None:
            command.append(f"--device={sink}")
        self._raw = folder / f"play-{time.monotonic_ns()}.raw"
        with self._raw.open("wb") as raw:
            for _ in range(times):
                samples.tofile(raw)
        # Not through a pipe: pacat takes a whole core from when its writer has hung up.
        with self._raw.open("rb") as raw:
            self._process = subprocess.Popen(
                command, env=dict(env), stdin=raw, stderr=subprocess.PIPE, start_new_session=True
            )

    @property
    def playing(self) -> bool:
        """Whether the program still plays."""
        return self._process.poll() is None

    def wait(self) -> None:
        """Wait for the end of the sound.

        Raises
        ------
        ServerError
            If the program failed or did not end 10 s after the sound's length.
        """
        try:
            _, errors = self._process.communicate(timeout=self.seconds + 10.0)
        except subprocess.TimeoutExpired as error:
            self.stop()
            raise ServerError("pacat did not finish playing; is the sink running?") from error
        self.stop()
        if self._process.returncode != 0:
            raise ServerError(f"pacat failed: {_last_line(errors)}")

    def stop(self) -> None:
        """Stop playing now; safe to call twice."""
        _end(self._process)
        self._raw.unlink(missing_ok=True)

    def __enter__(self) -> Playback:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Recording:
    """What a ``parecord`` records from a source; a context manager that stops it.

    Parameters
    ----------
    source : source to record, None for the default
    rate : Hz
    channels : as the program asks; the server mixes
    env, folder : as for :class:`Playback`
    latency_ms : what the program asks of the server
    """

    def __init__(
        self,
        source: str | None,
        env: Mapping[str, str],
        folder: Path,
        *,
        rate: int = 16_000,
        channels: int = 1,
        latency_ms: int = 20,
    ) -> None:
        self.rate = rate
        self.channels = channels
        self._file = folder / f"record-{time.monotonic_ns()}.raw"
        command = self._command(source, latency_ms)
        with self._file.open("wb") as raw:
            self._process = subprocess.Popen(
                command, env=dict(env), stdout=raw, stderr=subprocess.PIPE, start_new_session=True
            )

    def _command(self, source: str | None, latency_ms: int) -> list[str]:
        """The program that records to its standard output, or to the file."""
        command = [
            _program("parecord"),
            "--raw",
            "--format=float32le",
            f"--rate={self.rate}",
            f"--channels={self.channels}",
            f"--latency-msec={latency_ms}",
        ]
        return command if source is None else [*command, f"--device={source}"]

    @property
    def pid(self) -> int:
        """Process id of the recording program."""
        return self._process.pid

    @property
    def recording(self) -> bool:
        """Whether the program still runs."""
        return self._process.poll() is None

    @property
    def count(self) -> int:
        """Samples, of each channel, recorded so far."""
        return self._file.stat().st_size // (4 * self.channels)

    def samples(self) -> Samples:
        """All that was recorded so far: float32, shape (n,), or (n, channels) of more than one."""
        raw = np.fromfile(self._file, dtype=np.float32)
        raw = raw[: len(raw) - len(raw) % self.channels]
        return raw if self.channels == 1 else raw.reshape(-1, self.channels)

    def wait(self, seconds: float, *, patience: float = 10.0) -> Samples:
        """Wait until this many seconds of sound have arrived, and return exactly these.

        Raises
        ------
        ServerError
            If the program ended, or they have not arrived ``patience`` seconds after they should.
        """
        wanted = round(seconds * self.rate)
        deadline = time.monotonic() + seconds + patience
        while self.count < wanted:
            if not self.recording:
                _, errors = self._process.communicate()
                raise ServerError(f"parecord ended: {_last_line(errors)}")
            if time.monotonic() > deadline:
                raise ServerError(f"parecord got no sound for {patience:.0f} s; is the source up?")
            time.sleep(0.01)
        return self.samples()[:wanted]

    def stop(self) -> Samples:
        """End the program and return all samples; safe to call twice."""
        _end(self._process)
        return self.samples()

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _end(self._process)


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ServerError(f"{name} is not installed; install the package pulseaudio-utils")
    return path


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2.0)
        process.kill()
    process.wait()
    if process.stderr is not None:
        process.stderr.close()


def _last_line(errors: bytes | None) -> str:
    lines = (errors or b"").decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"
