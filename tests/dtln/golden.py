"""What each network gave on one x86-64 machine, as FLAC files beside this one.

They hold the networks' answers to a scene of ours, so that another processor (aarch64), runtime or
release is compared with them. Written by: python -m tests.dtln.golden
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

from pipedtln.dtln import load_processor
from pipedtln.dtln.manifest import load_manifest
from pipedtln.processor import SAMPLE_RATE
from tests.dtln.sounds import Samples, scene, stream

FOLDER = Path(__file__).with_name("golden")
NAMES = tuple(model.name for model in load_manifest().models.values() if model.pairs)
SECONDS = 1.5


def answer(name: str) -> Samples:
    """What the network of this name makes of the scene now."""
    return stream(load_processor(name), *scene(SECONDS))


def golden(name: str) -> Samples:
    """What it made of it then, in steps of 16 bits."""
    samples, _ = sf.read(FOLDER / f"{name}.flac", dtype="float32")
    return np.asarray(samples, np.float32)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for written in NAMES:
        sf.write(FOLDER / f"{written}.flac", answer(written), SAMPLE_RATE, subtype="PCM_16")
