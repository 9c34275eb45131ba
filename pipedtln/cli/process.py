"""``pipedtln process``: clean a recording."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipedtln.errors import InputError

if TYPE_CHECKING:
    from pipedtln.files import Progress, Report

_SOUND = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  pipedtln process talk.wav -o clean.flac                    noise out
  pipedtln process talk.wav --ref speaker.wav -o clean.wav   echo out, too
  pipedtln process card.wav --ref card.wav --ref-channel -1 -o clean.wav
  pipedtln process talk.wav -o clean.wav --plot seen.png
"""
)
@click.argument("mic", type=_SOUND, metavar="MIC.wav")
@click.option(
    "-o",
    "--output",
    "out",
    type=_SOUND,
    required=True,
    metavar="OUT.wav",
    help="Where the result goes; its ending decides the format.",
)
@click.option(
    "--ref",
    type=_SOUND,
    metavar="REF.wav",
    help="What the loudspeaker played meanwhile; its echo is taken out.",
)
@click.option(
    "--model",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="A network (see: pipedtln models list); auto takes a noise suppressor, and with --ref "
    "an echo canceller while the reference sounds.",
)
@click.option(
    "--no-align",
    is_flag=True,
    help="Take the reference in time as it is, not to where its echo is found.",
)
@click.option(
    "--strength",
    type=click.IntRange(0, 100),
    default=100,
    show_default=True,
    metavar="PERCENT",
    help="How much of what the network removes stays out.",
)
@click.option(
    "--channel",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Channel of MIC.wav; 0 is the first, -1 the last.",
)
@click.option(
    "--ref-channel", type=int, default=0, show_default=True, metavar="N", help="Channel of REF.wav."
)
@click.option(
    "--pad-ref",
    is_flag=True,
    help="Let silence follow a reference that is shorter than the recording.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="PNG",
    help="Draw spectrograms before and after.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def process(
    *,
    mic: Path,
    out: Path,
    ref: Path | None,
    model: str,
    no_align: bool,
    strength: int,
    channel: int,
    ref_channel: int,
    pad_ref: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Clean a recording.

    MIC.wav may be of any format, rate and channel count that libsndfile reads. The result is
    mono, has the length and rate of MIC.wav and is not delayed; it holds nothing above 8 kHz,
    which is as far as the networks hear.
    """
    from pipedtln.files import process_file
    from pipedtln.networks import choose_for_recording
    from pipedtln.plots import Panel, check_plot, plot_spectrograms
    from pipedtln.stream.lookahead import align_ahead

    if plot is not None:
        check_plot(plot)
        if plot.resolve() == out.resolve():
            raise InputError(f"{plot} is the output itself; name another picture with --plot")
    choice = choose_for_recording(model, reference=ref is not None)
    assert choice.processor is not None
    assert choice.name is not None
    with _progress_bar("Cleaning", shown=not as_json) as progress:
        report = process_file(
            mic,
            out,
            choice.processor,
            ref=ref,
            channel=channel,
            ref_channel=ref_channel,
            pad_ref=pad_ref,
            strength=strength,
            align=None if no_align or ref is None else align_ahead,
            progress=progress,
        )
    if plot is not None:
        panels = [Panel("before", mic, channel), Panel("after", out)]
        if ref is not None:
            panels.insert(1, Panel("reference", ref, ref_channel))
        plot_spectrograms(panels, plot)
    click.echo(_as_json(report, choice.name, plot) if as_json else _as_line(report, choice.name))


@contextmanager
def _progress_bar(text: str, *, shown: bool) -> Iterator[Progress | None]:
    """A bar on standard error while that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} s of sound"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _as_line(report: Report, model: str) -> str:
    speed = report.seconds / max(report.elapsed_s, 1e-3)
    return (
        f"{report.output}: {report.seconds:.1f} s with {model}, {_level(report.mic_dbfs)} before, "
        f"{_level(report.out_dbfs)} after, {speed:.0f} times as fast as it plays"
    )


def _level(dbfs: float) -> str:
    return f"{dbfs:.1f} dBFS" if math.isfinite(dbfs) else "silent"


def _as_json(report: Report, model: str, plot: Path | None) -> str:
    return json.dumps(
        {
            "output": str(report.output),
            "plot": None if plot is None else str(plot),
            "model": model,
            "frames": report.frames,
            "sample_rate": report.sample_rate,
            "seconds": round(report.seconds, 6),
            "elapsed_s": round(report.elapsed_s, 3),
            "mic_dbfs": _finite(report.mic_dbfs),
            "out_dbfs": _finite(report.out_dbfs),
        },
        indent=2,
    )


def _finite(level: float) -> float | None:
    """JSON has no infinity: silence has no level."""
    return round(level, 2) if math.isfinite(level) else None
