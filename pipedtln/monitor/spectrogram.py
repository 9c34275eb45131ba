"""A spectrogram that scrolls: time to the left, high tones on top, loud is light."""

from __future__ import annotations

from collections import deque

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

SHADES = 16
QUIET = 60
"""Half decibels above -120 dBFS (so -90 dBFS) that are the darkest shade."""
LOUD = 200
"""Those that are the lightest one (-20 dBFS)."""

_DARK, _MIDDLE, _LIGHT = (0, 12, 40), (110, 106, 112), (255, 236, 120)
_LONGEST = 1000


def shade(power: int) -> int:
    """Shade (0 dark to 15 light) of a power in half decibels above -120 dBFS."""
    return min(max((power - QUIET) * SHADES // (LOUD - QUIET), 0), SHADES - 1)


def colour(step: int) -> tuple[int, int, int]:
    """Red, green and blue of a shade.

    From blue over grey to yellow with ever more light: in order for every kind of colour vision,
    and on paper.
    """
    at = 2.0 * step / (SHADES - 1)
    low, high, share = (_DARK, _MIDDLE, at) if at < 1.0 else (_MIDDLE, _LIGHT, at - 1.0)
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(low, high, strict=True))
    return red, green, blue


class Spectrogram(Widget):
    """The last seconds of one signal; each character holds two bands, one above the other."""

    DEFAULT_CSS = "Spectrogram { height: 1fr; min-height: 2; }"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._columns: deque[bytes] = deque(maxlen=_LONGEST)
        self._note = ""
        self._styles: dict[tuple[int, int], Style] = {}

    def add(self, spectrum: bytes) -> None:
        """Append one column: power in bands from low to high, as in the Spectra signal."""
        self._note = ""
        self._columns.append(spectrum)
        self.refresh()

    def clear(self, note: str) -> None:
        """Show a line of words instead."""
        self._columns.clear()
        self._note = note
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of characters."""
        width, height = self.size
        if not self._columns:
            text = self._note if y == height // 2 else ""
            return Strip([Segment(text[:width].center(width))])
        shown = list(self._columns)[-width:] if width else []
        upper, lower = 2 * (height - y) - 1, 2 * (height - y) - 2
        segments = [Segment(" " * (width - len(shown)))]
        for spectrum in shown:
            pair = (
                shade(_part(spectrum, upper, 2 * height)),
                shade(_part(spectrum, lower, 2 * height)),
            )
            segments.append(Segment("▀", self._style(pair)))
        return Strip(segments, width)

    def _style(self, pair: tuple[int, int]) -> Style:
        style = self._styles.get(pair)
        if style is None:
            above, below = ("#{:02x}{:02x}{:02x}".format(*colour(step)) for step in pair)
            style = self._styles[pair] = Style.parse(f"{above} on {below}")
        return style


def _part(spectrum: bytes, part: int, parts: int) -> int:
    """The loudest band in one of equal parts of a spectrum."""
    first = part * len(spectrum) // parts
    last = max((part + 1) * len(spectrum) // parts, first + 1)
    return max(spectrum[first:last], default=0)
