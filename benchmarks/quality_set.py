"""The simulated set that quality is measured on: rooms by image source, voices of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from benchmarks.scenes import (
    RATE,
    Sound,
    at_level,
    clipped,
    convolve,
    mixed,
    music_like,
    pink_noise,
    rms,
    shifted,
)
from pipedtln.demo.conversation import sentences

SECONDS = 10.0
DELAYS_MS = (-10, 20, 60, 150, 300, 500, 800)


@dataclass(frozen=True)
class Case:
    """One recording to clean, all float32 at 16 kHz.

    ``talk``: ``"st"`` far end alone, ``"dt"`` both, ``"nst"`` near end alone, the words of AECMOS.
    ``near`` is the clean near end where it is known; ``delay_ms`` likewise.
    """

    name: str
    subset: str
    talk: str
    mic: Sound
    ref: Sound
    near: Sound | None
    delay_ms: float | None


def simulated(seed: int, per_kind: int) -> list[Case]:
    """The whole set: `per_kind` scenes of each kind, each in a room of its own."""
    cases = []
    for index in range(per_kind):
        cases += [_delayed(seed, index, talk, ms) for talk in ("st", "dt") for ms in DELAYS_MS]
        for talk in ("st", "dt"):
            for kind in ("music", "clipped"):
                cases += [_troubled(seed, 2 * index + half, talk, kind) for half in range(2)]
        cases += [_near_only(seed, 2 * index + half) for half in range(2)]
    return cases


def recorded(folder: Path) -> list[Case]:
    """Real recordings ``*_mic.wav`` with ``*_lpb.wav`` beside them; none where there are none."""
    cases = []
    for path in sorted(folder.glob("*_mic.wav")):
        mic, rate = sf.read(path, dtype="float32")
        ref, _ = sf.read(path.with_name(path.name.replace("_mic", "_lpb")), dtype="float32")
        if rate != RATE:
            continue
        talk = "dt" if "doubletalk" in path.name else "nst" if "nearend" in path.name else "st"
        count = min(len(mic), len(ref))
        cases.append(
            Case(f"recorded {talk}", "recorded", talk, mic[:count], ref[:count], None, None)
        )
    return cases


def _generator(seed: int, *key: int | str) -> np.random.Generator:
    numbers = [k if isinstance(k, int) else sum(k.encode()) for k in key]
    return np.random.default_rng((seed, *(abs(n) + 7919 * (n < 0) for n in numbers)))


def _delayed(seed: int, index: int, talk: str, delay_ms: int) -> Case:
    rng = _generator(seed, index, talk, delay_ms)
    near = _near(rng) if talk == "dt" else None
    scene = mixed(
        rng,
        voice(rng, "far"),
        room(rng, 0.3, 1.2),
        delay_ms,
        near=near,
        echo_level=0.03 * 10 ** (rng.uniform(-6, 6) / 20),
        snr_db=rng.uniform(0, 30),
    )
    subset = "delay to 60 ms" if delay_ms <= 60 else "delay from 150 ms"
    name = f"{talk} {delay_ms} ms #{index}"
    return Case(name, f"{subset}, {talk}", talk, scene.mic, scene.ref, near, delay_ms)


def _troubled(seed: int, index: int, talk: str, kind: str) -> Case:
    rng = _generator(seed, index, talk, kind)
    ref = music_like(rng, SECONDS) if kind == "music" else voice(rng, "far")
    near = _near(rng) if talk == "dt" else None
    delay_ms = round(rng.uniform(-10, 800))
    scene = mixed(
        rng,
        ref,
        room(rng, 0.3, 1.2),
        delay_ms,
        near=near,
        played=clipped(ref) if kind == "clipped" else None,
        echo_level=0.03 * 10 ** (rng.uniform(-6, 6) / 20),
        snr_db=rng.uniform(10, 30),
    )
    name = f"{talk} {kind} {delay_ms} ms #{index}"
    return Case(name, f"{kind}, {talk}", talk, scene.mic, ref, near, delay_ms)


def _near_only(seed: int, index: int) -> Case:
    rng = _generator(seed, index, "nst")
    near = _near(rng)
    snr_db = rng.uniform(0, 30)
    mic = near + pink_noise(rng, len(near)) * rms(near) * 10 ** (-snr_db / 20)
    silence = np.zeros_like(near)
    name = f"nst {snr_db:.0f} dB #{index}"
    return Case(name, "near end alone", "nst", mic.astype(np.float32), silence, near, 0)


def _near(rng: np.random.Generator) -> Sound:
    """A near talker in the room, after a second and a half in which only the far end talks."""
    speech = convolve(shifted(voice(rng, "near"), int(1.5 * RATE)), room(rng, 0.4, 0.8))
    return at_level(speech, 0.05)


def voice(rng: np.random.Generator, who: str) -> Sound:
    """Ten seconds of a demo talker: sentences in random order, up to a tenth higher or lower."""
    parts = list(sentences(who))
    rng.shuffle(parts)
    speed = rng.uniform(0.9, 1.1)
    joined = np.concatenate([np.pad(p, (0, int(rng.uniform(0, 0.5) * RATE))) for p in parts * 2])
    count = int(SECONDS * RATE)
    moved = np.interp(np.arange(count) * speed, np.arange(len(joined)), joined)
    return at_level(moved.astype(np.float32))


def room(rng: np.random.Generator, least_m: float, most_m: float) -> Sound:
    """Impulse response from a source to a microphone at a distance, in a random shoe-box room.

    The direct sound is its first sample. Image sources by pyroomacoustics (Allen & Berkley 1979).
    """
    import pyroomacoustics

    size = rng.uniform((3.0, 3.0, 2.4), (7.0, 6.0, 3.0))
    t60 = rng.uniform(0.2, 0.5)
    absorption, order = pyroomacoustics.inverse_sabine(t60, size)
    shoebox = pyroomacoustics.ShoeBox(
        size, fs=RATE, materials=pyroomacoustics.Material(absorption), max_order=min(order, 25)
    )
    mic = np.array([size[0] * rng.uniform(0.3, 0.7), size[1] * rng.uniform(0.3, 0.7), 0.8])
    angle = rng.uniform(0, 2 * np.pi)
    distance = rng.uniform(least_m, most_m)
    source = mic + distance * np.array([np.cos(angle), np.sin(angle), 0.2])
    shoebox.add_source(np.clip(source, 0.2, size - 0.2))
    shoebox.add_microphone(mic)
    shoebox.compute_rir()
    response = np.asarray(shoebox.rir[0][0], np.float32)
    direct = int(np.argmax(np.abs(response) > 0.3 * np.abs(response).max()))
    return response[direct:]
