"""Meters and spectrograms say what they measure, without leaning on hues."""

from __future__ import annotations

import pytest

from pipedtln.monitor.meter import meter_line
from pipedtln.monitor.spectrogram import LOUD, QUIET, SHADES, colour, shade


@pytest.mark.parametrize("width", [28, 80, 133])
def test_a_meter_fills_its_line_and_grows_with_the_level(width: int) -> None:
    lines = [meter_line("microphone", level, level, width) for level in range(-60, 1)]
    assert {len(line) for line in lines} == {width}
    blocks = [line.count("█") for line in lines]
    assert blocks == sorted(blocks)
    assert blocks[0] == 0
    assert blocks[-1] == width - 19


@pytest.mark.parametrize(
    ("level", "figure"),
    [(None, "-"), (-float("inf"), "silent"), (-70.0, "silent"), (-20.4, "-20 dB"), (0.0, "CLIPS")],
)
def test_a_meter_says_its_level_in_words(level: float | None, figure: str) -> None:
    assert meter_line("output", level, -60.0, 80).endswith(f" {figure}")


def test_the_peak_mark_stands_beyond_the_bar() -> None:
    line = meter_line("output", -40.0, -10.0, 80)
    assert line.index("|") > line.rindex("█")
    assert "|" not in meter_line("output", -40.0, -60.0, 80)


def test_louder_is_lighter_in_every_kind_of_colour_vision() -> None:
    """Luminance grows with every shade for full, red-blind and blue-blind eyes and on paper."""
    weights = {
        "full": (0.2126, 0.7152, 0.0722),
        "no red": (0.0, 0.93, 0.07),
        "no blue": (0.25, 0.75, 0.0),
    }
    for name, weight in weights.items():
        light = [
            sum(w * (c / 255) ** 2.2 for w, c in zip(weight, colour(step), strict=True))
            for step in range(SHADES)
        ]
        assert all(later > earlier for earlier, later in zip(light, light[1:])), name  # noqa: B905, RUF007
        assert light[-1] - light[0] > 0.6


def test_shades_span_the_range_of_speech() -> None:
    assert (shade(0), shade(QUIET), shade(LOUD), shade(255)) == (0, 0, SHADES - 1, SHADES - 1)
    steps = [shade(power) for power in range(256)]
    assert steps == sorted(steps)
    assert set(steps) == set(range(SHADES))
