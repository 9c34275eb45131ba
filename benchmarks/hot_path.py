"""What one hop costs, against the published recipe, and with other weights than int8.

Run it on a quiet machine: python benchmarks/hot_path.py [--json] [--old-python PYTHON] [MODEL]...

All take turns in short rounds within one run, so that whatever slows the machine slows all. A
round's ratio compares neighbours; the table tells the medians over all rounds. "recipe" and "ours"
run the same int8 files on the same runtime, "runtime" is that runtime's own share (the network as
published, without anything around it), "apart" the same of the network as we load it; "row8",
"block8" and "float" are our processor with those weights; "pairs" is two hops at once (as with
``latency = "balanced"``), "fours" is four (as with ``"saver"`` and for files). "live" is a
hop every 8 ms, two every 16 or four every 32, as sound comes: whatever ran meanwhile has the
caches. PYTHON, with tflite-runtime in it, runs the recipe there: "old".
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipedtln.dtln import EchoCanceller, NoiseSuppressor, load_processor, locate_model
from pipedtln.dtln.store import Located
from pipedtln.errors import ModelError
from pipedtln.processor import HOP, Processor
from tests.dtln.recipe import Recipe
from tests.dtln.sounds import scene

NAMES = ("ns-int8", "aec-128-int8", "aec-256-int8", "aec-512-int8")
GOAL = 0.45
"""Most that ours may cost, as a share of the recipe."""
EXACT_GOAL = 1.2
"""Most that weights closer to float may cost, as a multiple of ours in int8."""
OTHERS = ("row8", "block8", "float")
BATCHES = {
    "pairs": (2, {"ours": "recipe", "row8": "recipe", "block8": "ours"}),
    "fours": (4, {"ours": "recipe", "row8": "recipe"}),
}
"""Hops at once, what goes so, and what that is compared with."""
LIVE = ("recipe", "ours", "row8", "block8")
LIVE_BATCHES = {
    f"{kind}_{word}": (kind, hops)
    for word, (hops, _) in BATCHES.items()
    for kind in ("ours", "row8")
}
"""What takes several hops each time that as many have come."""
HOPS = 124
"""Hops in a round: nearly a second of sound, and all batches in whole."""
LIVE_ROUNDS = 3
OLD_GOAL = 0.25
"""Most that ours may cost, as a share of the recipe on tflite-runtime."""
OLD_RECIPE = """
import sys, time
import numpy as np
sys.path.insert(0, sys.argv[1])
from tests.dtln.recipe import Recipe
recipe = Recipe(*sys.argv[2:4])
mic, ref = np.load(sys.argv[4])
print("ready", flush=True)
for _ in sys.stdin:
    started = time.process_time()
    recipe.run(mic, ref)
    print(time.process_time() - started, flush=True)
"""


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(NAMES), metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--old-python", help="a Python with tflite-runtime")
    options = parser.parse_args()
    rows = [measure(name, options.rounds, options.old_python) for name in options.names]
    if options.json:
        goals = {"ratio": GOAL, "old_ratio": OLD_GOAL, "row8_ratio": EXACT_GOAL}
        print(json.dumps({"goals": goals, "numpy": np.__version__, "models": rows}, indent=2))
        return
    titles = ["recipe µs", "ours µs", "runtime µs", "apart µs", "apart/recipe", "ours/recipe"]
    for kind in OTHERS:
        titles += [f"{kind} µs", f"{kind}/ours"]
    for word, (_, kinds) in BATCHES.items():
        for kind, other in kinds.items():
            titles += [f"{kind} in {word} µs", f"{kind} in {word}/{other}"]
    titles += ["old µs", "ours/old", *(f"live {kind} µs" for kind in LIVE)]
    for kind, (weights, hops) in LIVE_BATCHES.items():
        titles += [f"live {kind.replace('_', ' in ')} µs", f"live {weights} {hops} at once/recipe"]
    table = Table("", *(row["model"] for row in rows), box=None)
    for title, key in zip(titles, list(rows[0])[1:], strict=True):
        table.add_row(title, *(_text(row, key) for row in rows))
    Console().print(table)


def _with(name: str, kind: str) -> str:
    """The same network with other weights; ours are those of the name."""
    return name if kind == "ours" else name.replace("int8", kind)


def _text(row: dict[str, Any], key: str) -> str:
    return "–" if row[key] is None else f"{row[key]:.{2 if key.endswith('ratio') else 0}f}"


def measure(name: str, rounds: int, old_python: str | None = None) -> dict[str, Any]:
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
        "apart": _bare_apart(load_processor(name)),
    }
    for kind in OTHERS:
        with contextlib.suppress(ModelError):  # not on this machine, or its runtime is not
            works[kind] = partial(run, load_processor(_with(name, kind)))
    for word, (hops, kinds) in BATCHES.items():
        for kind in kinds:
            with contextlib.suppress(ModelError):
                processor = load_processor(_with(name, kind), batch=hops)
                works[f"{kind}_{word}"] = partial(run_batches, processor, mic, ref)
    for work in works.values():
        work()
    with _old(old_python, located, np.stack((mic, ref))) as old:
        timed = [
            {kind: cpu_seconds(work) for kind, work in works.items()} | {"old": old()}
            for _ in range(rounds)
        ]
    steps: dict[str, tuple[Callable[..., object], int]] = {"recipe": (recipe.step, 1)}
    alone = {kind: (kind, 1) for kind in LIVE[1:]}
    for kind, (weights, hops) in (alone | LIVE_BATCHES).items():
        if kind in works:
            processor = load_processor(_with(name, weights), batch=hops)
            process = processor.process if hops == 1 else processor.process_batch
            steps[kind] = partial(_hop, process, np.empty(hops * HOP, np.float32)), hops
    live: dict[str, list[float]] = {kind: [] for kind in steps}
    for _ in range(LIVE_ROUNDS):
        for kind, (step, hops) in steps.items():
            live[kind].append(_live(step, mic, ref, hops))

    def cost(kind: str) -> float | None:
        if kind not in timed[0] or np.isnan(timed[0][kind]):
            return None
        return round(statistics.median(times[kind] for times in timed) * 1e6 / HOPS, 1)

    def ratio(kind: str, other: str) -> float | None:
        if any(one not in timed[0] or np.isnan(timed[0][one]) for one in (kind, other)):
            return None
        return round(statistics.median(times[kind] / times[other] for times in timed), 3)

    def beside(others: dict[str, str]) -> dict[str, float | None]:
        """Cost of each, and its ratio to another one."""
        figures: dict[str, float | None] = {}
        for kind, other in others.items():
            figures |= {f"{kind}_us": cost(kind), f"{kind}_ratio": ratio(kind, other)}
        return figures

    return {
        "model": name,
        "recipe_us": cost("recipe"),
        "ours_us": cost("ours"),
        "runtime_us": cost("runtime"),
        "apart_us": cost("apart"),
        "apart_ratio": ratio("apart", "recipe"),
        "ratio": ratio("ours", "recipe"),
        **beside(dict.fromkeys(OTHERS, "ours")),
        **beside(
            {
                f"{kind}_{word}": other
                for word, (_, kinds) in BATCHES.items()
                for kind, other in kinds.items()
            }
        ),
        "old_us": cost("old"),
        "old_ratio": ratio("ours", "old"),
        **{
            f"live_{kind}_us": round(statistics.median(live[kind]), 1) if kind in live else None
            for kind in LIVE
        },
        **_live_beside(live),
    }


def _live_beside(live: dict[str, list[float]]) -> dict[str, float | None]:
    """Cost live of what takes several hops at once, and its ratio to the recipe's."""
    figures: dict[str, float | None] = {}
    for kind in LIVE_BATCHES:
        times = live.get(kind)
        figures[f"live_{kind}_us"] = round(statistics.median(times), 1) if times else None
        ratios = [mine / recipe for mine, recipe in zip(times or (), live["recipe"], strict=False)]
        figures[f"live_{kind}_ratio"] = round(statistics.median(ratios), 3) if times else None
    return figures


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


def _bare_apart(processor: Any) -> Callable[[], None]:
    """The same two inferences as our processor has loaded them."""
    one, two = processor._masks._one.invoke, processor._frames._one.invoke

    def infer() -> None:
        for _ in range(HOPS):
            one()
            two()

    return infer


@contextlib.contextmanager
def _old(
    python: str | None, located: Located, sound: NDArray[np.float32]
) -> Iterator[Callable[[], float]]:
    """The recipe in a process of another Python; NaN without one."""
    if python is None:
        yield lambda: float("nan")
        return
    root = str(Path(__file__).resolve().parents[1])
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, sound)
        file.flush()
        command = [python, "-c", OLD_RECIPE, root, *map(str, located.files), file.name]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as process:
            assert process.stdin and process.stdout
            given, told = process.stdin, process.stdout
            told.readline()

            def run() -> float:
                given.write("\n")
                return float(told.readline())

            run()
            yield run
            given.close()


def _hop(
    process: Callable[..., None],
    out: NDArray[np.float32],
    mic: NDArray[np.float32],
    ref: NDArray[np.float32],
) -> None:
    process(mic, ref, out)


def _live(
    step: Callable[..., object], mic: NDArray[np.float32], ref: NDArray[np.float32], hops: int
) -> float:
    """Median CPU time of a hop, in µs, where so many come at a time: 8 ms to each."""
    times = []
    size = hops * HOP
    due = time.perf_counter()
    for at in range(0, len(mic), size):
        due += size / 16_000
        time.sleep(max(0.0, due - time.perf_counter()))
        started = time.thread_time()
        step(mic[at : at + size], ref[at : at + size])
        times.append((time.thread_time() - started) / hops)
    return statistics.median(times) * 1e6


def run_batches(
    processor: NoiseSuppressor | EchoCanceller, mic: NDArray[np.float32], ref: NDArray[np.float32]
) -> None:
    """Process as many hops at once as it takes, over and over."""
    size = processor.batch * HOP
    out = np.empty(size, np.float32)
    for at in range(0, len(mic), size):
        some = slice(at, at + size)
        processor.process_batch(mic[some], ref[some], out)


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU time of the process that some work takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
