"""One picture of what the bridge heard and made of it: levels, spectrograms and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipedtln.control.api import Status
from pipedtln.files.read import MonoReader
from pipedtln.plots import Panel, check_plot, draw_spectrograms, save_figure, spectrogram
from pipedtln.processor import SAMPLE_RATE, Block

_WINDOW_S = 0.05
_POINTS = 1200
"""Points of a level curve at most."""
_QUIETEST_DBFS = -90.0
_INK = ("#222222", "#d55e00", "#0072b2")
"""Okabe and Ito's colours, told apart with any eyes; the line styles do the same in print."""
_STYLES = ("-", ":", "-")
_WIDTHS = (1.0, 1.4, 1.8)


def facts(status: Status, ratings: Mapping[str, float] | None = None) -> list[str]:
    """The figures of a recording in two lines, and a third where it was rated or has problems.

    Parameters
    ----------
    ratings : DNSMOS by name of the recording, ``"mic"`` and ``"clean"``
    """
    parts = ", ".join(f"{name} {ms:.0f}" for name, ms in status.latency_parts_ms.items())
    load = status.load
    first = [
        f"network {status.model or 'none'}",
        f"strength {status.strength} %",
        f"state {status.state}",
        f"load {_told(load.get('mean'), 100, ' %')} (p99 {_told(load.get('p99'), 100, ' %')})",
    ]
    second = [
        f"echo delay {_told(status.echo_delay_ms, 1, ' ms')}",
        f"echo suppression {_told(status.echo_suppression_db, 1, ' dB')}",
        f"latency {_told(status.latency_ms, 1, ' ms')}" + (f" ({parts})" if parts else ""),
        f"{status.dropped_hops} hops dropped, {status.xruns} xruns",
    ]
    lines = ["   ".join(first), "   ".join(second)]
    if ratings:
        lines.append(f"DNSMOS {ratings['mic']:.2f} before, {ratings['clean']:.2f} after (1 to 5)")
    return [*lines, *status.problems[:2]]


def draw_overview(panels: Sequence[Panel], lines: Sequence[str], path: Path) -> None:
    """Draw levels over time, then a spectrogram of each recording, all on one time axis.

    Parameters
    ----------
    panels : up to three recordings of one moment
    lines : told at the top
    path : .png, .svg or .pdf; replaced in one step

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

    pictures = [spectrogram(panel, SAMPLE_RATE) for panel in panels]
    figure = Figure(
        figsize=(11, 1.2 + 0.2 * len(lines) + 2.0 * (len(panels) + 1)),
        dpi=100,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9, family="monospace")
    axes = figure.subplots(len(panels) + 1, 1, sharex=True, squeeze=False)[:, 0]
    _draw_levels(axes[0], panels)
    draw_spectrograms(figure, list(axes[1:]), panels, pictures, SAMPLE_RATE)
    save_figure(figure, path)


def _draw_levels(axis: Any, panels: Sequence[Panel]) -> None:
    for panel, ink, style, width in zip(panels, _INK, _STYLES, _WIDTHS, strict=False):
        seconds, levels = level_curve(panel)
        axis.plot(seconds, levels, style, color=ink, linewidth=width, label=panel.title)
    axis.set_title("levels", loc="left", fontsize=10)
    axis.set_ylabel("dBFS, RMS")
    axis.set_ylim(_QUIETEST_DBFS, 0)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right", fontsize=8, ncols=len(panels))


def level_curve(panel: Panel) -> tuple[Block, Block]:
    """RMS of a recording over time.

    Returns
    -------
    Seconds (middle of each window) and levels in dBFS, not below -90; windows of 50 ms, longer
    where there would be more than 1200 of them.

    Raises
    ------
    InputError
        If the recording cannot be read.
    """
    window = round(_WINDOW_S * SAMPLE_RATE)
    powers: list[float] = []
    with MonoReader(panel.path, rate=SAMPLE_RATE, channel=panel.channel) as reader:
        while not reader.ended:
            block = reader.take(window)
            if len(block):
                powers.append(float(np.dot(block, block)) / len(block))
    merged = -(-len(powers) // _POINTS)
    power = np.array([np.mean(powers[at : at + merged]) for at in range(0, len(powers), merged)])
    seconds = (np.arange(len(power), dtype=np.float32) + 0.5) * np.float32(_WINDOW_S * merged)
    levels = 10 * np.log10(np.maximum(power, 10 ** (_QUIETEST_DBFS / 10)))
    return seconds, levels.astype(np.float32)


def _told(value: float | None, scale: float, unit: str) -> str:
    return "unknown" if value is None else f"{scale * value:.0f}{unit}"
