"""``pipedtln bench``: what each network costs on this machine, and which one auto takes."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pipedtln.dtln.cost import Cost
    from pipedtln.dtln.store import Located

_BAR = 16
_EIGHTHS = " ▏▎▍▌▋▊▉█"


@click.command(
    epilog="""\
\b
Examples:
  pipedtln bench                   every network that is here
  pipedtln bench --seconds 5       in a hurry
  pipedtln bench --json            for a script
"""
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=20.0,
    show_default=True,
    metavar="S",
    help="Time for all networks together.",
)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N")
def bench(*, as_json: bool, seconds: float, threads: int) -> None:
    """Measure what each network costs on this machine.

    Runs every network whose weights are here on noise, one after the other and without a pause,
    and tells what auto would take with an echo reference. Other programs' work shows in the 99th
    percentile. Nothing is recorded or played.
    """
    from pipedtln.dtln.cost import measure_cost
    from pipedtln.dtln.loader import AUTO, make_processor
    from pipedtln.errors import ModelError
    from pipedtln.networks import choose_model
    from pipedtln.processor import HOP, SAMPLE_RATE

    located = _present()
    auto = choose_model(AUTO, True, threads).name
    costs: dict[str, Cost] = {}
    for one in located:
        try:
            processor = make_processor(one, threads=threads)
        except ModelError as error:
            click.echo(f"{one.model.name} is left out: {error}", err=True)
            continue
        costs[one.model.name] = measure_cost(processor, seconds / len(located))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "hop_ms": 1000 * HOP / SAMPLE_RATE,
                    "threads": threads,
                    "auto": auto,
                    "models": {
                        name: {**asdict(cost), "headroom": 1 / cost.load}
                        for name, cost in costs.items()
                    },
                },
                indent=2,
            )
        )
        return
    _print_table(costs)
    click.echo(f"\nA hop lasts {1000 * HOP / SAMPLE_RATE:g} ms. auto takes: {auto}")


def _present() -> list[Located]:
    from pipedtln.dtln.manifest import load_manifest
    from pipedtln.dtln.store import Store

    store = Store.from_environment()
    found = (store.find(model) for model in load_manifest().models.values())
    return sorted(
        (located for located in found if located is not None),
        key=lambda located: (located.model.kind, located.model.units, located.model.name),
    )


def _print_table(costs: dict[str, Cost]) -> None:
    from rich.console import Console
    from rich.table import Table

    dearest = max(cost.median_us for cost in costs.values())
    table = Table(box=None, pad_edge=False)
    table.add_column("network", no_wrap=True)
    for title in ("CPU µs", "median µs", "p99 µs", "of a hop", "headroom"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("median")
    for name, cost in costs.items():
        table.add_row(
            name,
            f"{cost.cpu_us:.0f}",
            f"{cost.median_us:.0f}",
            f"{cost.p99_us:.0f}",
            f"{cost.load:.1%}",
            f"{1 / cost.load:.0f} x",
            _bar(cost.median_us / dearest),
        )
    Console().print(table)


def _bar(share: float) -> str:
    eighths = max(round(share * _BAR * 8), 1)
    return _EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
