"""The processors give what the published recipe and its authors give."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from pipedtln.dtln import load_processor, locate_model
from pipedtln.dtln.loader import make_processor
from pipedtln.dtln.store import Store
from tests.conftest import SHARED
from tests.dtln.golden import NAMES, answer, golden
from tests.dtln.recipe import Recipe
from tests.dtln.sounds import scene, snr_db, stream

AUDIO = SHARED / "audio"
ALTERNATES = SHARED / "models" / "pidtln"
LEAD_IN = 384
"""Zeros that the authors' script puts before and after a recording."""


@pytest.mark.parametrize("name", NAMES)
def test_follows_the_published_recipe(name: str, models: Path) -> None:
    mic, ref = scene(4.0)
    expected = Recipe(*locate_model(name).files).run(mic, ref)
    agreement = snr_db(expected, stream(load_processor(name), mic, ref))
    print(f"{name}: {agreement:.1f} dB")
    # Float differs by rounding alone; in int8 a last bit may push a value over a step.
    assert agreement >= (100.0 if name.endswith("float") else 35.0)


@pytest.mark.parametrize("name", NAMES)
def test_gives_what_it_gave_on_another_processor(name: str, models: Path) -> None:
    agreement = snr_db(golden(name), answer(name))
    print(f"{platform.machine()}: {name}: {agreement:.1f} dB")
    assert agreement >= (50.0 if name.endswith("float") else 20.0)


@pytest.mark.skipif(not ALTERNATES.is_dir(), reason="PiDTLN's files are not on this machine")
@pytest.mark.parametrize("name", ["ns-int8", "aec-128-int8", "aec-256-int8"])
def test_alternates_are_the_same_networks(name: str, models: Path) -> None:
    mic, ref = scene(2.0)
    located = locate_model(name, store=Store(ALTERNATES))
    assert located.alternate
    got = stream(make_processor(located), mic, ref)
    assert snr_db(Recipe(*located.files).run(mic, ref), got) >= 35.0
    agreement = snr_db(stream(load_processor(name), mic, ref), got)
    print(f"{name}: canonical and alternate agree at {agreement:.1f} dB")
    assert agreement >= 15.0


@pytest.mark.skipif(not AUDIO.is_dir(), reason="the authors' recordings are not on this machine")
def test_float_aec_512_gives_the_authors_own_output(models: Path) -> None:
    microphones = sorted(AUDIO.glob("*_mic.wav"))
    assert microphones
    for path in microphones:
        mic, ref, wanted = (
            sf.read(str(path).replace("_mic", kind), dtype="float32")[0]
            for kind in ("_mic", "_lpb", "_processed")
        )
        n = min(len(mic), len(ref))
        around = np.zeros(LEAD_IN, np.float32)
        padded = (np.concatenate((around, sound[:n], around)) for sound in (mic, ref))
        got = stream(load_processor("aec-512-float"), *padded)[LEAD_IN:]
        # Theirs is a file of 16 bits, rounded down; its last frame is not complete.
        got = (np.floor(got * 32767) / 32768).astype(np.float32)
        n = min(len(got), len(wanted)) - 512
        agreement = snr_db(wanted[:n], got[:n])
        print(f"{path.name}: {agreement:.1f} dB")
        assert agreement >= 25.0
