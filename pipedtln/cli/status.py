"""``pipedtln status``: what the running service does, as a table or as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import click

from pipedtln.errors import ServiceError

if TYPE_CHECKING:
    from rich.table import Table

    from pipedtln.control.api import Status

_EVERY_S = 1.0


@click.command(
    epilog="""\
\b
Examples:
  pipedtln status                  a table
  pipedtln status --watch          the same every second, until Ctrl-C
  pipedtln status --json | jq .latency_ms
"""
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object (a line, with --watch)."
)
@click.option("--watch", is_flag=True, help="Show it again every second until Ctrl-C.")
def status(as_json: bool, watch: bool) -> None:
    """Show what the service is doing.

    Ends with code 3, and the command that starts it, when the service is not running.
    """
    if watch:
        asyncio.run(_watch(as_json))
        return
    from pipedtln.control.client import BridgeClient, ask

    now = ask(BridgeClient.status)
    if as_json:
        click.echo(_json(now, indent=2))
    else:
        _console_print(status_table(now))


def status_table(now: Status) -> Table:
    """A Status as two columns of words and figures; needs no colours and wraps when narrow."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows(now):
        table.add_row(name, Text(value))  # names of devices may hold [markup]
    return table


def rows(now: Status) -> list[tuple[str, str]]:
    """What the table says, row by row."""
    from pipedtln.control.words import state

    said = [
        ("state", state(now.state)),
        *(("problem", problem) for problem in now.problems),
        ("microphone", now.mic or "none"),
        ("reference", now.reference or "none (no echo cancellation)"),
        ("output", now.output),
        ("model", now.model or "none"),
        ("strength", f"{now.strength} %"),
        ("bypass, mute", f"{_on(now.bypass)}, {_on(now.muted)}"),
        ("recorders", ", ".join(now.recorders) or "none"),
        ("latency", _latency(now)),
        ("echo", _echo(now)),
        ("load", _load(now)),
        ("hops", _hops(now)),
        ("server", now.server or "none"),
        ("service", f"pipedtln {now.version}, process {now.pid}, up {duration(now.uptime_s)}"),
    ]
    return [(name, value) for name, value in said if value]


def duration(seconds: float) -> str:
    """Seconds in the two greatest units that say something."""
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min")]
    parts.append((whole % 60, "s"))
    first = next((i for i, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])


def _on(flag: bool) -> str:
    return "on" if flag else "off"


def _latency(now: Status) -> str | None:
    if now.latency_ms is None:
        return None
    parts = ", ".join(f"{name} {ms:.0f}" for name, ms in now.latency_parts_ms.items())
    return f"{now.latency_ms:.0f} ms added" + (f" ({parts})" if parts else "")


def _echo(now: Status) -> str | None:
    if now.reference is None:
        return None
    said = []
    if now.echo_delay_ms is not None:
        said.append(f"{now.echo_delay_ms:.0f} ms behind the reference")
    if now.echo_suppression_db is not None:
        said.append(f"{now.echo_suppression_db:.0f} dB suppressed")
    return ", ".join(said) or "none measured yet"


def _load(now: Status) -> str | None:
    if not now.load:
        return None
    mean, p99 = now.load["mean"], now.load["p99"]
    return f"{mean:.0%} of the time there is, {p99:.0%} at worst (99th percentile)"


def _hops(now: Status) -> str:
    said = f"{now.hops} done, {now.dropped_hops} dropped, {now.bypassed_hops} let through"
    return said + f", {now.xruns} xruns"


def _json(now: Status, indent: int | None = None) -> str:
    from pipedtln.control.wire import status_to_json

    text = status_to_json(now)
    return text if indent is None else json.dumps(json.loads(text), indent=indent)


def _console_print(table: Table) -> None:
    from rich.console import Console

    Console(highlight=False).print(table)


async def _watch(as_json: bool) -> None:
    """Show the status every second; a service that goes away is waited for."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from pipedtln.control.client import BridgeClient

    async with BridgeClient() as client:
        now = await client.status()  # what is wrong at once is an error, not a screen
        if as_json or not sys.stdout.isatty():
            while True:
                click.echo(_json(now))
                sys.stdout.flush()
                await asyncio.sleep(_EVERY_S)
                now = await client.status()
        with Live(status_table(now), console=Console(highlight=False), auto_refresh=False) as live:
            while True:
                await asyncio.sleep(_EVERY_S)
                try:
                    live.update(status_table(await client.status()), refresh=True)
                except ServiceError as error:
                    live.update(Text(str(error)), refresh=True)
