"""Plays and records on a private server, and measures what came through."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.latency import lag
from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivatePipeWire, PrivateServer
from pipedtln.devices.names import SPEAKER
from pipedtln.processor import SAMPLE_RATE

Sound = NDArray[np.float32]

MOST_SLIP_MS = 4.0
"""More than 300 ppm move an echo by within twelve seconds: then the room itself moved."""
SPEECH = Path(__file__).parents[2] / "pipedtln" / "demo" / "audio"


def speech(talker: str, seconds: float) -> Sound:
    """That much of the ``"near"`` or ``"far"`` talker, repeated where need be, without pauses."""
    sound = soundfile.read(SPEECH / f"{talker}.flac", dtype="float32")[0] * np.float32(0.4)
    hops = sound[: len(sound) // 1600 * 1600].reshape(-1, 1600)
    talking = hops[(hops**2).mean(axis=1) > 1e-6].reshape(-1)
    repeats = int(np.ceil(seconds * SAMPLE_RATE / len(talking)))
    return np.tile(talking, repeats)[: round(seconds * SAMPLE_RATE)]


def play_with_echo(server: PrivateServer, far: Sound, echo: Sound) -> None:
    """Play the far end on DTLN Speaker and an echo into the microphone; returns at the end.

    On PulseAudio by two programs, which begin within some tens of milliseconds. On PipeWire by one:
    of two, a busy machine loses cycles of the one and not of the other, and within twenty seconds
    the echo comes so much sooner that it is there before the far end, as no echo is.
    """
    if isinstance(server, PrivatePipeWire):
        _play_channels(server, far, echo)
        return
    with server.player(far, SPEAKER), server.player(echo, server.MICROPHONE_INPUT) as playing:
        playing.wait()


def _play_channels(server: PrivatePipeWire, far: Sound, echo: Sound) -> None:
    def link(*arguments: str) -> str:
        return subprocess.check_output(["pw-link", *arguments], env=server.env, text=True)

    both = np.zeros((max(len(far), len(echo)), 2), np.float32)
    both[: len(far), 0], both[: len(echo), 1] = far, echo
    file = server.folder / "far-and-echo.wav"
    soundfile.write(file, both, SAMPLE_RATE, "FLOAT")
    # (Target 0: nothing is linked but what is linked here.)
    command = ["pw-play", "--target", "0", "-P", "{ node.name = far-and-echo }", str(file)]
    with subprocess.Popen(command, env=server.env) as program:
        try:
            assert wait_until(lambda: "far-and-echo:output_FR" in link("-o"), 10.0)
            link("far-and-echo:output_FR", f"{server.MICROPHONE_INPUT}:playback_MONO")
            for side in ("FL", "FR"):
                link("far-and-echo:output_FL", f"{SPEAKER}:playback_{side}")
            assert program.wait(len(both) / SAMPLE_RATE + 10.0) == 0
        finally:
            program.kill()


def level_db(sound: Sound) -> float:
    """RMS in dBFS."""
    return 10 * float(np.log10(np.mean(sound.astype(np.float64) ** 2) + 1e-12))


def talking(sound: Sound, after_s: float) -> NDArray[np.intp]:
    """Indexes of the hops of 100 ms with sound, from so many seconds after the first one on."""
    size = SAMPLE_RATE // 10
    hops = sound[: len(sound) // size * size].reshape(-1, size)
    loud = (hops**2).mean(axis=1) > 1e-6
    loud[: int(np.argmax(loud)) + round(10 * after_s)] = False
    assert loud.sum() >= 20, "the microphone heard too little of it"
    return np.flatnonzero(np.repeat(loud, size))


def moved_ms(heard: Sound, far: Sound) -> float:
    """By how much the echo's place in the bare microphone's recording changes, second by second."""
    by, _ = lag(heard, far, most_s=4.0)
    places = []
    for at in range(max(0, by) + SAMPLE_RATE, len(heard) - SAMPLE_RATE, SAMPLE_RATE // 2):
        spoken = far[at - by : at - by + SAMPLE_RATE]
        if len(spoken) == SAMPLE_RATE and level_db(spoken) > -50:
            shift, likeness = lag(heard[at : at + SAMPLE_RATE], spoken, most_s=0.3)
            if likeness > 0.5:
                places.append(1000 * shift / SAMPLE_RATE)
    return float(np.ptp(places)) if places else np.inf
