"""Records what the bridge hears in one moment, sample-aligned."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic

from pipedtln.errors import ConfigError, DeviceError, InputError
from pipedtln.processor import SAMPLE_RATE, Block
from pipedtln.stream.engine import Engine
from pipedtln.stream.tap import Recorder

LONGEST_S = 600
PATIENCE_S = 3.0
"""Seconds beyond those asked for that sound may take to come."""


async def record_moment(
    engine: Engine, seconds: float, delay_samples: int, folder: Path
) -> list[str]:
    """Hear a moment of what the engine does, and write it; see :func:`write_recording`.

    Raises
    ------
    ConfigError
        If it is too long.
    DeviceError
        If nothing is recording DTLN Microphone, so that there is no sound.
    InputError
        If the folder cannot be written.
    """
    if not 0 < seconds <= LONGEST_S:
        raise ConfigError(f"cannot record {seconds:g} s; say between 0 and {LONGEST_S} seconds")
    recorder = Recorder(seconds)
    engine.add_tap(recorder)
    try:
        deadline = monotonic() + seconds + PATIENCE_S
        while not recorder.full:
            if monotonic() > deadline:
                raise DeviceError(
                    "no sound came through; open an app that records DTLN Microphone first"
                )
            await asyncio.sleep(0.05)
    finally:
        engine.remove_tap(recorder)
    files = await asyncio.to_thread(write_recording, recorder.sound(), delay_samples, folder)
    return [str(file) for file in files]


def write_recording(sound: Block, delay_samples: int, folder: Path) -> list[Path]:
    """Write mic.wav, reference.wav and clean.wav (16 kHz, float32).

    Parameters
    ----------
    sound : float32, shape (3, samples): microphone, reference, output
    delay_samples : by which the output lies behind; taken out, so that all three line up
    folder : made if need be

    Raises
    ------
    InputError
        If the folder cannot be written; what was there before is untouched then.
    """
    # Not at the start: few services ever record.
    from pipedtln.files import SoundInfo, SoundWriter

    length = sound.shape[1] - delay_samples
    rows = {
        "mic.wav": sound[0, :length],
        "reference.wav": sound[1, :length],
        "clean.wav": sound[2, delay_samples:],
    }
    coding = SoundInfo(folder / "mic.wav", SAMPLE_RATE, 1, length, "WAV", "FLOAT")
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            for name, samples in rows.items():
                writer = stack.enter_context(SoundWriter(folder / name, SAMPLE_RATE, coding))
                writer.write(samples)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made ({error.strerror}); choose another place"
        ) from error
    except InputError:
        if made:
            with suppress(OSError):
                folder.rmdir()
        raise
    return [folder / name for name in rows]
