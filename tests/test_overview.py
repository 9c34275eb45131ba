"""The picture of a recording tells its figures and draws levels where they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipedtln.errors import InputError
from pipedtln.overview import draw_overview, facts, level_curve
from pipedtln.plots import Panel
from pipedtln.rating import can_rate, dnsmos
from tests.control.bridge import QuietBridge

RATE = 16_000


def tone(path: Path, seconds: float, level: float = 0.5) -> Path:
    time = np.arange(round(seconds * RATE)) / RATE
    soundfile.write(path, (level * np.sin(2 * np.pi * 440 * time)).astype(np.float32), RATE)
    return path


def test_levels_are_rms_in_decibels_of_full_scale(tmp_path: Path) -> None:
    silence_then_tone = np.zeros(2 * RATE, np.float32)
    silence_then_tone[RATE:] = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    soundfile.write(tmp_path / "it.wav", silence_then_tone, RATE)
    seconds, levels = level_curve(Panel("it", tmp_path / "it.wav"))
    assert np.allclose(levels[seconds < 1], -90)
    assert np.allclose(levels[seconds > 1], 20 * np.log10(0.5 / np.sqrt(2)), atol=0.1)
    assert seconds[-1] < 2


def test_a_long_recording_has_no_more_points_than_a_picture_shows(tmp_path: Path) -> None:
    seconds, levels = level_curve(Panel("it", tone(tmp_path / "it.wav", 90)))
    assert len(seconds) == len(levels) <= 1200
    assert 89 < seconds[-1] < 90.1


def test_the_figures_are_told() -> None:
    text = "\n".join(facts(QuietBridge().now, {"mic": 1.914, "clean": 3.127}))
    for word in ("quiet-256", "strength 100 %", "echo delay 63 ms", "latency 44 ms", "load 5 %"):
        assert word in text
    assert "echo suppression unknown" in text
    assert "DNSMOS 1.91 before, 3.13 after" in text


def test_what_is_not_known_or_wrong_is_told_too() -> None:
    status = replace(QuietBridge().now, model=None, echo_delay_ms=None, problems=["it hums"])
    text = "\n".join(facts(status))
    assert "network none" in text
    assert "echo delay unknown" in text
    assert "it hums" in text
    assert "DNSMOS" not in text


def test_the_picture_is_drawn_from_recordings_of_any_length(tmp_path: Path) -> None:
    panels = [Panel(name, tone(tmp_path / f"{name}.wav", 0.3)) for name in ("a", "b", "c")]
    draw_overview(panels, facts(QuietBridge().now), tmp_path / "it.png")
    assert (tmp_path / "it.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "it.png").stat().st_size > 10_000


def test_a_missing_recording_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.wav"):
        draw_overview([Panel("none", tmp_path / "none.wav")], [], tmp_path / "it.png")


def test_a_rating_is_a_figure_or_nothing(tmp_path: Path) -> None:
    rating = dnsmos(tone(tmp_path / "it.wav", 2))
    assert (rating is None) if not can_rate() else (rating is not None and 1 <= rating <= 5)
