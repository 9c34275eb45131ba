"""Draws the tray's icon: a microphone whose shape, not only its colour, tells the state."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SIZES = (22, 32, 48)
"""Pixels; the desktop takes what suits its panel."""
_FINE = 4
"""Fine pixels per pixel and side: edges are means of what is drawn."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_PLATE = (18, 32, 58)
_LIGHT = (244, 246, 250)
_BRIGHT = (255, 228, 92)
_DIM = (141, 150, 168)


@lru_cache(maxsize=64)
def pixmap(state: str, size: int) -> bytes:
    """The icon of a state of :class:`pipedtln.control.api.Status`, or of ``"off"``.

    Cleaning: a full microphone. Bypassed: a hollow one. Muted: struck through. Open: a mark of
    exclamation beside it. All else: dim.

    Returns
    -------
    ``4 * size * size`` bytes: alpha, red, green, blue of each pixel, row by row from the top.
    """
    fine = size * _FINE
    y, x = (np.mgrid[0:fine, 0:fine] + 0.5) / fine
    full = state in ("running", "idle", "muted", "open")
    ink = _DIM if state in ("off", "waiting", "starting") else _LIGHT
    shift = -0.14 if state == "open" else 0.0
    layers: list[tuple[Mask, tuple[int, int, int]]] = [
        (_rounded(x, y, (0.5, 0.5), (0.47, 0.47), 0.2), _PLATE),
        (_stand(x - shift, y), ink),
    ]
    capsule = _rounded(x - shift, y, (0.5, 0.37), (0.13, 0.22), 0.13)
    layers.append((capsule, ink))
    if not full:
        inner = _rounded(x - shift, y, (0.5, 0.37), (0.06, 0.15), 0.06)
        layers.append((inner, _PLATE))
    if state == "muted":
        across, along = (x + y - 1) / np.sqrt(2), (x - y) / np.sqrt(2)
        layers.append(((abs(along) < 0.11) & (abs(across) < 0.44), _PLATE))
        layers.append(((abs(along) < 0.05) & (abs(across) < 0.42), _BRIGHT))
    if state == "open":
        layers.append((_rounded(x, y, (0.77, 0.40), (0.065, 0.22), 0.04), _BRIGHT))
        layers.append((_rounded(x, y, (0.77, 0.76), (0.07, 0.07), 0.07), _BRIGHT))
    return _flatten(layers, size)


def _rounded(
    x: Floats, y: Floats, middle: tuple[float, float], half: tuple[float, float], radius: float
) -> Mask:
    """A rectangle with round corners."""
    beyond_x = np.maximum(abs(x - middle[0]) - (half[0] - radius), 0)
    beyond_y = np.maximum(abs(y - middle[1]) - (half[1] - radius), 0)
    inside: Mask = np.hypot(beyond_x, beyond_y) <= radius
    return inside


def _stand(x: Floats, y: Floats) -> Mask:
    """Bow, stem and foot."""
    distance = np.hypot(x - 0.5, y - 0.45)
    bow = (abs(distance - 0.23) < 0.035) & (y > 0.45)
    stem = (abs(x - 0.5) < 0.035) & (y > 0.66) & (y < 0.84)
    foot = (abs(x - 0.5) < 0.14) & (abs(y - 0.83) < 0.035)
    drawn: Mask = bow | stem | foot
    return drawn


def _flatten(layers: list[tuple[Mask, tuple[int, int, int]]], size: int) -> bytes:
    fine = size * _FINE
    image = np.zeros((fine, fine, 4))
    for mask, colour in layers:
        image[mask] = (255, *colour)
    blocks = image.reshape(size, _FINE, size, _FINE, 4)
    alpha = blocks[..., :1].mean(axis=(1, 3))
    # Colours are means of what is there, not of what is transparent.
    colour = (blocks[..., 1:] * blocks[..., :1]).sum(axis=(1, 3)) / np.maximum(
        blocks[..., :1].sum(axis=(1, 3)), 1
    )
    pixels: NDArray[np.uint8] = np.concatenate((alpha, colour), axis=2).round().astype(np.uint8)
    return pixels.tobytes()
