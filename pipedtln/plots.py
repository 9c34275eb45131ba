"""Draws spectrograms of recordings under one another, for the eye to compare."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipedtln.errors import InputError, PipedtlnError
from pipedtln.files.read import MonoReader
from pipedtln.files.write import writable_target
from pipedtln.processor import Block

_FRAME = 512
_COLUMNS = 1200
"""Time columns of a picture at most: more than its pixels would only cost memory."""
_FLOOR_DB = -110.0
RANGE_DB = 80.0
"""From the brightest to the darkest colour."""
_ENDINGS = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Panel:
    """One recording to draw: its caption, its file and which channel of it."""

    title: str
    path: Path
    channel: int = 0


def check_plot(path: Path) -> None:
    """See that a picture can be drawn to ``path``, before any long work.

    Raises
    ------
    InputError
        If its ending is no picture's or it cannot be written there.
    PipedtlnError
        If matplotlib is not installed.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise InputError(f"{path} does not end like a picture; use one of {', '.join(_ENDINGS)}")
    writable_target(path)
    if importlib.util.find_spec("matplotlib") is None:
        raise PipedtlnError(
            "drawing needs matplotlib, which is not installed; "
            "get it with: pip install 'pipedtln[plot]'"
        )


def plot_spectrograms(panels: Sequence[Panel], path: Path, *, rate: int = 16_000) -> None:
    """Draw recordings under one another on the same time, frequency and level axes.

    Reads each file in constant memory. Levels are dB relative to a full-scale sine; the colour
    map (cividis) reads alike with and without colour-blindness and in print.

    Parameters
    ----------
    panels : at least one
    path : .png, .svg or .pdf; replaced in one step
    rate : Hz at which the recordings are looked at; half of it is the highest frequency shown

    Raises
    ------
    InputError
        If a recording cannot be read or the picture cannot be written.
    PipedtlnError
        If matplotlib is not installed.
    """
    check_plot(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pictures = [spectrogram(panel, rate) for panel in panels]
    figure = Figure(figsize=(11, 0.8 + 2.4 * len(panels)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    draw_spectrograms(figure, list(axes), panels, pictures, rate)
    save_figure(figure, path)


def draw_spectrograms(
    figure: Any,
    axes: Sequence[Any],
    panels: Sequence[Panel],
    pictures: Sequence[tuple[NDArray[np.float32], float]],
    rate: float,
) -> None:
    """Draw :func:`spectrogram` pictures, one below the other, on one time axis and one dB scale."""
    top = max(float(np.percentile(levels, 99.9)) for levels, _ in pictures)
    longest = max(seconds for _, seconds in pictures)
    for axis, panel, (levels, seconds) in zip(axes, panels, pictures, strict=True):
        image = axis.imshow(
            levels.T,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, rate / 2000),
            cmap="cividis",
            vmin=top - RANGE_DB,
            vmax=top,
            interpolation="antialiased",
        )
        axis.set_title(panel.title, loc="left", fontsize=10)
        axis.set_ylabel("kHz")
        axis.set_facecolor(image.get_cmap()(0.0))
    axes[-1].set_xlabel("seconds")
    axes[-1].set_xlim(0, longest)
    figure.colorbar(image, ax=axes, label="dB of full scale", aspect=40, pad=0.01)


def save_figure(figure: object, path: Path) -> None:
    """Write a matplotlib figure in one step.

    Raises
    ------
    InputError
        If it cannot be written there.
    """
    target = writable_target(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        figure.savefig(part, format=target.suffix.lower().lstrip("."))  # type: ignore[attr-defined]
        part.replace(target)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}); choose another place"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def spectrogram(panel: Panel, rate: int) -> tuple[NDArray[np.float32], float]:
    """Levels in dB, shape (columns, bins), and the duration in seconds.

    Columns are means of power over as many frames as it takes; they are merged by two whenever
    there are too many, so that neither the length of the file nor its header matters.
    """
    window = np.hanning(_FRAME).astype(np.float32)
    scale = 2.0 / float(window.sum())
    hop = _FRAME // 2
    merged = 1
    columns: list[Block] = []
    waiting: list[Block] = []
    samples = 0
    with MonoReader(panel.path, rate=rate, channel=panel.channel) as reader:
        tail: Block = np.zeros(hop, np.float32)
        while not reader.ended:
            block = reader.take(hop)
            samples += len(block)
            block = np.concatenate((block, np.zeros(hop - len(block), np.float32)))
            spectrum = np.abs(np.fft.rfft(np.concatenate((tail, block)) * window)) * scale
            tail = block
            waiting.append(np.square(spectrum, dtype=np.float32))
            if len(waiting) == merged:
                columns.append(_mean(waiting))
                waiting.clear()
            if len(columns) == 2 * _COLUMNS:
                columns = [_mean([a, b]) for a, b in zip(columns[::2], columns[1::2], strict=True)]
                merged *= 2
        if waiting:
            columns.append(_mean(waiting))
    power = np.maximum(np.stack(columns), 10 ** (_FLOOR_DB / 10))
    return (10 * np.log10(power)).astype(np.float32), samples / rate


def _mean(rows: list[Block]) -> Block:
    mean: Block = np.mean(rows, axis=0, dtype=np.float32)
    return mean
