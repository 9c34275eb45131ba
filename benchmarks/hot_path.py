"""What one hop costs, against the published recipe, and with block-wise weights or float ones.

Run it on a quiet machine: python benchmarks/hot_path.py [--json] [MODEL]...

All take turns in short rounds within one run, so that whatever slows the machine slows all. A
round's ratio compares neighbours; the table tells the medians over all rounds. "recipe" and "ours"
run the same int8 files on the same runtime, "runtime" is that runtime's own share (the network
without anything around it); "block8" and "float" are our processor with those weights.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipedtln.dtln import load_processor, locate_model
from pipedtln.dtln.store import Located
from pipedtln.errors import ModelError
from pipedtln.processor import HOP, Processor
from tests.dtln.recipe import Recipe
from tests.dtln.sounds import scene

NAMES = ("ns-int8", "aec-128-int8", "aec-256-int8", "aec-512-int8")
GOAL = 0.45
"""Most that ours may cost, as a share of the recipe."""
BLOCK8_GOAL = 1.2
"""Most that block8 may cost, as a multiple of ours in int8."""
HOPS = 125
"""Hops in a round: one second of sound."""


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(NAMES), metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(name, options.rounds) for name in options.names]
    if options.json:
        goals = {"ratio": GOAL, "block8_ratio": BLOCK8_GOAL}
        print(json.dumps({"goals": goals, "numpy": np.__version__, "models": rows}, indent=2))
        return
    table = Table(box=None)
    for title in ("model", "recipe µs", "ours µs", "runtime µs", "ours/recipe"):
        table.add_column(title)
    for title in ("block8 µs", "block8/ours", "float µs", "float/ours"):
        table.add_column(title)
    for row in rows:
        table.add_row(row["model"], *(_text(row, key) for key in list(row)[1:]))
    Console().print(table)


def _text(row: dict[str, Any], key: str) -> str:
    return "–" if row[key] is None else f"{row[key]:.{2 if key.endswith('ratio') else 0}f}"


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Time all on one int8 model; microseconds of CPU time per hop, medians over the rounds."""
    located = locate_model(name)
    recipe = Recipe(*located.files)
    mic, ref = scene(HOPS * HOP / 16_000)
    blocks = [
        (mic[start : start + HOP], ref[start : start + HOP]) for start in range(0, len(mic), HOP)
    ]
    out = np.empty(HOP, np.float32)

    def plainly() -> None:
        for mic_block, ref_block in blocks:
            recipe.step(mic_block, ref_block)

    def run(processor: Processor) -> None:
        for mic_block, ref_block in blocks:
            processor.process(mic_block, ref_block, out)

    works: dict[str, Callable[[], None]] = {
        "recipe": plainly,
        "ours": partial(run, load_processor(name)),
        "runtime": _bare(located),
    }
    for kind in ("block8", "float"):
        with contextlib.suppress(ModelError):  # not on this machine, or its runtime is not
            works[kind] = partial(run, load_processor(name.replace("int8", kind)))
    for work in works.values():
        work()
    timed = [{kind: _cpu(work) for kind, work in works.items()} for _ in range(rounds)]

    def cost(kind: str) -> float | None:
        if kind not in works:
            return None
        return round(statistics.median(times[kind] for times in timed) * 1e6 / HOPS, 1)

    def ratio(kind: str, other: str) -> float | None:
        if kind not in works:
            return None
        return round(statistics.median(times[kind] / times[other] for times in timed), 3)

    return {
        "model": name,
        "recipe_us": cost("recipe"),
        "ours_us": cost("ours"),
        "runtime_us": cost("runtime"),
        "ratio": ratio("ours", "recipe"),
        "block8_us": cost("block8"),
        "block8_ratio": ratio("block8", "ours"),
        "float_us": cost("float"),
        "float_ratio": ratio("float", "ours"),
    }


def _bare(located: Located) -> Callable[[], None]:
    """The two inferences of each hop with nothing around them."""
    recipe = Recipe(*located.files)
    mic, ref = scene(0.1)
    recipe.run(mic, ref)

    def infer() -> None:
        for _ in range(HOPS):
            recipe.one.invoke()
            recipe.two.invoke()

    return infer


def _cpu(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
