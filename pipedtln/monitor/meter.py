"""A level meter: a bar for the eye and a figure for everyone."""

from __future__ import annotations

import math

from rich.text import Text
from textual.widget import Widget

QUIETEST_DB = -60.0
_CLIPS_DB = -0.5
_FALL_DB = 1.5
"""Decibels that the peak mark falls with each update."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


class Meter(Widget):
    """One level in dBFS, with a mark that falls slowly from the latest peak.

    Told apart by words and lengths only, so that it reads the same without colours.
    """

    DEFAULT_CSS = "Meter { height: 1; }"

    def __init__(self, title: str, *, id: str) -> None:
        super().__init__(id=id)
        self._title = title
        self._level_db: float | None = None
        self._peak_db = QUIETEST_DB

    def show(self, level_db: float | None) -> None:
        """Show a level in dBFS; None when there is none to show."""
        self._level_db = level_db
        level = QUIETEST_DB if level_db is None else level_db
        self._peak_db = max(level, self._peak_db - _FALL_DB, QUIETEST_DB)
        self.refresh()

    def render(self) -> Text:
        """The line as it is now."""
        return Text(meter_line(self._title, self._level_db, self._peak_db, self.size.width))


def meter_line(title: str, level_db: float | None, peak_db: float, width: int) -> str:
    """``microphone ███████▌   |      -20 dB`` in exactly ``width`` columns (28 at least)."""
    if level_db is None:
        figure = "-"
    elif level_db > _CLIPS_DB:
        figure = "CLIPS"
    elif math.isinf(level_db) or level_db < QUIETEST_DB:
        figure = "silent"
    else:
        figure = f"{level_db:.0f} dB"
    room = max(width - 11 - 8, 9)
    eighths = round(8 * room * _share(level_db))
    bar = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
    peak = round((room - 1) * _share(peak_db))
    bar = bar.ljust(room)
    if peak_db > QUIETEST_DB and peak >= len(bar.rstrip()):
        bar = bar[:peak] + "|" + bar[peak + 1 :]
    return f"{title:<11}{bar}{figure:>8}"


def _share(level_db: float | None) -> float:
    if level_db is None or math.isnan(level_db):
        return 0.0
    return min(max(1.0 - level_db / QUIETEST_DB, 0.0), 1.0)
