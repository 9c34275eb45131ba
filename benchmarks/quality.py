"""Measures what pipedtln makes of echo and noise: ``python -m benchmarks.quality``.

Needs the dependency group ``quality``. Compares the microphone itself, the published recipe (int8
networks, reference taken as it comes) and pipedtln, on a simulated set and on real recordings
where there are any; prints tables, draws a plot and, with ``--write``, puts both into docs/.
Cleaned sound is kept in a temporary folder and used again by the next run.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.quality_scores import Scores, score
from benchmarks.quality_set import DELAYS_MS, Case, recorded, simulated
from benchmarks.scenes import Sound
from pipedtln.dtln import EchoCanceller, load_processor, locate_model
from pipedtln.errors import ModelError
from pipedtln.processor import HOP, Block, Processor, takes_batches
from pipedtln.stream import align, delay, flux, hold, lookahead, switch, voice
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.farend import FarEndSwitch
from pipedtln.stream.lookahead import align_ahead
from pipedtln.stream.switch import NetworkSwitch
from pipedtln.stream.voice import Voice

VERSION = 1
"""Of what is cached; raise it when cleaning or scoring changes."""


@dataclass(frozen=True)
class System:
    """A way to clean a recording.

    ``way``: "none", "as is" (the published recipe), "auto" (as ``pipedtln process``: noise
    suppressor while there is no far end, alignment with foresight), "file" (the same with the
    named network alone) or "live" (as the service: as "auto", but without foresight).
    ``quiet``: the noise suppressor of "auto" and "live".
    """

    name: str
    way: str
    model: str = ""
    quiet: str = ""


def systems(process: str, live: str, others: Sequence[str]) -> list[System]:
    """Everything that is compared; networks that are not on this machine are left out.

    Parameters
    ----------
    process, live : networks of pipedtln's default, as ``"ns-int8/aec-512-int8"``
    others : more ways for ``pipedtln process``, as ``"aec-256-int8"`` (that network alone) or as
        the defaults; after ``"live:"``, more ways for the bridge
    """
    wanted = [System("unprocessed", "none")]
    wanted += [
        System(f"published {units} int8", "as is", f"aec-{units}-int8") for units in (128, 256, 512)
    ]
    wanted += [_pair("pipedtln process", "auto", process)]
    for other in others:
        way, _, names = other.rpartition(":")
        if way or "/" in names:
            wanted += [_pair(f"{way or 'process'} {names}", way or "auto", names)]
        else:
            wanted += [System(f"process {names}", "file", names)]
    wanted += [_pair("pipedtln live", "live", live)]
    return [system for system in wanted if _present(system.model) and _present(system.quiet)]


def _pair(name: str, way: str, networks: str) -> System:
    quiet, _, model = networks.partition("/")
    return System(name, way, model, quiet)


def _present(model: str) -> bool:
    try:
        if model:
            locate_model(model)
    except ModelError:
        return False
    return True


@cache
def network(model: str, *, batch: int = 1) -> EchoCanceller:
    """The echo canceller of that name, ready for so many hops at once."""
    processor = load_processor(model, batch=batch)
    if not isinstance(processor, EchoCanceller):
        raise ModelError(f"{model} is no echo canceller; name an aec model")
    return processor


def cleaned(system: System, case: Case) -> Sound:
    """The system's output, in time with the microphone and as long."""
    if system.way == "none":
        return case.mic
    mic, ref = _whole_hops(case.mic), _whole_hops(case.ref)
    inner = network(system.model)
    if system.way == "live":
        networks = NetworkSwitch(load_processor(system.quiet), [inner])
        return stream(Voice(FailOpen(networks)), mic, ref, len(case.mic))
    quiet = load_processor(system.quiet) if system.quiet else None
    pairs = ((mic[at : at + HOP], ref[at : at + HOP]) for at in range(0, len(mic), HOP))
    if system.way in ("file", "auto"):
        ref = np.concatenate([pair[1] for pair in align_ahead(pairs)])
    return stream(FarEndSwitch(quiet, [inner]), mic, ref, len(case.mic))


def stream(processor: Processor | Voice, mic: Sound, ref: Sound, length: int) -> Sound:
    """Run a processor over whole hops, several at once where it takes them; each output goes where
    its sound was.
    """
    processor.reset()
    size, step = HOP, processor.process
    if takes_batches(processor):
        size, step = processor.batch * HOP, processor.process_batch
    mic, ref = (np.pad(sound, (0, -len(sound) % size)) for sound in (mic, ref))
    result = np.zeros(len(mic), np.float32)
    out: Block = np.zeros(size, np.float32)
    for at in range(0, len(mic), size):
        step(mic[at : at + size], ref[at : at + size], out)
        start = at - processor.latency_samples
        if start > -size:
            early = max(0, -start)
            result[start + early : start + size] = out[early:]
    return result[:length]


def _whole_hops(sound: Sound, silence_hops: int = 9) -> Sound:
    """The sound and enough silence after it to get all of it out again."""
    short = -len(sound) % HOP + silence_hops * HOP
    return np.pad(sound, (0, short))


def measured(system: System, case: Case, folder: Path) -> Scores:
    """Scores of a system on a case, from the cache where it has them."""
    digest = hashlib.sha256(case.mic.tobytes() + case.ref.tobytes()).hexdigest()
    key = f"{VERSION}|{system.way}|{system.model}|{system.quiet}|{digest}"
    if system.way in ("auto", "file", "live"):
        key += _code_version(live=system.way == "live")
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    if path.exists():
        return Scores(**json.loads(path.read_text()))
    scores = score(case, cleaned(system, case))
    path.write_text(json.dumps(asdict(scores)))
    return scores


@cache
def _code_version(*, live: bool) -> str:
    """Changes with the code that a way runs through, so that stale results are not used."""
    text = hashlib.sha256()
    for module in (align, delay, flux, hold, lookahead, *((switch, voice) if live else ())):
        text.update(inspect.getsource(module).encode())
    return text.hexdigest()


Results = dict[tuple[str, str], Scores]
"""By names of system and case."""


def mean(values: Sequence[float]) -> float:
    """Mean of what applies; NaN where nothing does."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


_COLUMNS: dict[str, Callable[[Scores], float]] = {
    "AECMOS": lambda s: s.aecmos,
    "echo": lambda s: s.echo,
    "degradation": lambda s: s.degradation,
    "DNSMOS": lambda s: s.overall,
    "suppression dB": lambda s: s.suppression_db,
    "SI-SDR dB": lambda s: s.si_sdr_db,
    "PESQ": lambda s: s.pesq,
}

Rows = list[list[str]]


def summary(results: Results, names: Sequence[str], cases: Sequence[Case]) -> Rows:
    """One row per system, one column per score, over all given cases."""
    rows = [["", *_COLUMNS]]
    for name in names:
        scores = [results[name, case.name] for case in cases]
        rows.append([name, *(_text(mean([get(s) for s in scores])) for get in _COLUMNS.values())])
    return rows


def by_subset(results: Results, names: Sequence[str], cases: Sequence[Case]) -> Rows:
    """AECMOS: one row per subset, one column per system."""
    rows = [["AECMOS", "n", *names]]
    for subset in dict.fromkeys(case.subset for case in cases):
        inside = [case for case in cases if case.subset == subset]
        means = [mean([results[name, case.name].aecmos for case in inside]) for name in names]
        rows.append([subset, str(len(inside)), *map(_text, means)])
    return rows


def _text(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def markdown(rows: Rows) -> str:
    """A table as Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' - |' * len(rows[0])}", *lines[1:]])


def shown(rows: Rows, title: str) -> Table:
    """A table for the terminal."""
    table = Table(*rows[0], title=title)
    for row in rows[1:]:
        table.add_row(*row)
    return table


def plot(results: Results, names: Sequence[str], cases: Sequence[Case], path: Path) -> None:
    """Draw echo score and suppression against the echo's delay."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.8), layout="constrained")
    kinds = (("AECMOS, double talk", "dt", "AECMOS"), ("Suppression, dB", "st", "suppression dB"))
    for axis, (title, talk, column) in zip(axes, kinds, strict=True):
        for name in names:
            values = []
            for delay_ms in DELAYS_MS:
                chosen = [
                    results[name, c.name]
                    for c in cases
                    if c.talk == talk and c.delay_ms == delay_ms and c.subset.startswith("delay")
                ]
                values.append(mean([_COLUMNS[column](s) for s in chosen]))
            axis.plot([str(d) for d in DELAYS_MS], values, marker="o", label=name)
        axis.set(title=title, xlabel="echo delay, ms")
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def write(document: Path, tables: dict[str, Rows]) -> None:
    """Put each table between its marks ``<!-- name -->`` and ``<!-- end -->`` in a document."""
    text = document.read_text()
    for name, rows in tables.items():
        head, found, rest = text.partition(f"<!-- {name} -->\n")
        if found:
            _, end, tail = rest.partition("<!-- end -->")
            text = f"{head}{found}{markdown(rows)}\n{end}{tail}"
    document.write_text(text)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-kind", type=int, default=2, help="scenes of each kind")
    parser.add_argument("--process", default="ns-row8/aec-512-row8", help="auto's networks, files")
    parser.add_argument("--live", default="ns-row8/aec-512-row8", help="auto's networks, live")
    parser.add_argument("--also", nargs="*", default=[], help="more networks or pairs, aligned")
    parser.add_argument("--recordings", type=Path, default=Path("../shared/audio"))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--write", action="store_true", help="into docs/quality.md")
    options = parser.parse_args()
    folder = options.cache or Path(tempfile.gettempdir()) / "pipedtln-quality"
    folder.mkdir(parents=True, exist_ok=True)
    compared = systems(options.process, options.live, options.also)
    console = Console(width=200)
    results: Results = {}
    with Progress(console=console) as progress:
        task = progress.add_task("making the set", total=None)
        made = simulated(options.seed, options.per_kind)
        real = recorded(options.recordings)
        progress.update(task, total=len(compared) * len(made + real))
        for system in compared:
            progress.update(task, description=system.name)
            for case in made + real:
                results[system.name, case.name] = measured(system, case, folder)
                progress.advance(task)
    names = [system.name for system in compared]
    tables = {"summary": summary(results, names, made), "subsets": by_subset(results, names, made)}
    if real:
        tables["recorded"] = summary(results, names, real)
    console.print(f"process is {options.process}, live {options.live}")
    console.print(f"{len(made)} simulated scenes, {len(real)} recordings")
    for title, rows in tables.items():
        console.print(shown(rows, title))
    picture = Path("docs/quality.png") if options.write else folder / "quality.png"
    plot(results, names, made, picture)
    console.print(f"plot: {picture}")
    if options.write:
        write(Path("docs/quality.md"), tables)


if __name__ == "__main__":
    main()
