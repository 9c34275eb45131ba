"""``pipedtln demo``: hear and see what the bridge does, on a server of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pipedtln.demo.run import Outcome, Progress


@click.command(
    epilog="""\b
Examples:
  pipedtln demo                                     PipeWire, a laptop's echo
  pipedtln demo --echo-delay 300                    a Bluetooth loudspeaker
  pipedtln demo --server pulseaudio --output /tmp/demo
"""
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("pipedtln-demo"),
    show_default=True,
    metavar="DIR",
    help="Where the recordings and the picture go.",
)
@click.option(
    "--server",
    type=click.Choice(["auto", "pipewire", "pulseaudio"]),
    default="auto",
    show_default=True,
    help="The audio server to start; auto takes PipeWire where it is installed.",
)
@click.option(
    "--echo-delay",
    type=click.IntRange(10, 1500),
    default=60,
    show_default=True,
    metavar="MS",
    help="Milliseconds from the loudspeaker to the microphone.",
)
@click.option("--model", default="auto", show_default=True, metavar="NAME", help="The network.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def demo(*, folder: Path, server: str, echo_delay: int, model: str, as_json: bool) -> None:
    """Hear the difference, without touching your devices.

    Starts a private audio server with a simulated room, runs the bridge on it, plays half a
    minute of conversation and records the raw microphone and DTLN Microphone. It takes about 40
    seconds and makes no sound; listen to the two recordings afterwards.
    """
    from pipedtln.demo.run import run_demo

    with _progress_bar(shown=not as_json) as progress:
        outcome = run_demo(
            folder,
            server=None if server == "auto" else server,
            echo_delay_ms=echo_delay,
            model=model,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(_as_dict(outcome), indent=2))
    else:
        _print(outcome)


@contextmanager
def _progress_bar(*, shown: bool) -> Iterator[Progress | None]:
    """A bar on a terminal; elsewhere one line for each step, so that a log shows the way."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    if not shown:
        yield None
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        said: set[str] = set()

        def say(what: str, done: float, total: float) -> None:
            if what not in said:
                said.add(what)
                click.echo(what, err=True)

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Starting", total=None)
        yield lambda what, done, total: bar.update(
            task, description=what.ljust(34), completed=done, total=total
        )


def _print(outcome: Outcome) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{outcome.server}, echo after {outcome.echo_delay_ms} ms", min_width=60)
    table.add_column("Phase")
    for heading in ("Microphone", "DTLN Microphone", "Change"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in outcome.levels:
        table.add_row(
            row.phase.title,
            f"{row.mic_dbfs:.1f} dBFS",
            f"{row.out_dbfs:.1f} dBFS",
            f"{row.change_db:+.1f} dB",
        )
    console = Console()
    console.print(table)
    model = f" with {outcome.model}" if outcome.model else ""
    click.echo(f"Echo suppression after 2 s{model}: {outcome.echo_suppression_db:.0f} dB")
    if outcome.unprocessed_ms or outcome.dropped_ms:
        click.echo(
            f"This machine was busy: {outcome.unprocessed_ms} ms went through unprocessed, "
            f"{outcome.dropped_ms} ms were dropped; run it again when it is idle"
        )
    click.echo(f"Before:  {outcome.mic_wav}")
    click.echo(f"After:   {outcome.out_wav}")
    if outcome.picture is not None:
        click.echo(f"Picture: {outcome.picture}")
    else:
        click.echo("No picture, as matplotlib is not installed: pip install 'pipedtln[plot]'")


def _as_dict(outcome: Outcome) -> dict[str, object]:
    return {
        "server": outcome.server,
        "model": outcome.model,
        "echo_delay_ms": outcome.echo_delay_ms,
        "levels_dbfs": {
            row.phase.key: {"mic": round(row.mic_dbfs, 1), "out": round(row.out_dbfs, 1)}
            for row in outcome.levels
        },
        "echo_suppression_db": round(outcome.echo_suppression_db, 1),
        "unprocessed_ms": outcome.unprocessed_ms,
        "dropped_ms": outcome.dropped_ms,
        "mic_wav": str(outcome.mic_wav),
        "out_wav": str(outcome.out_wav),
        "picture": None if outcome.picture is None else str(outcome.picture),
    }
