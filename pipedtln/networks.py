"""Which network runs: by its name, or by what the sound needs and the machine bears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TypeAlias

import numpy as np

from pipedtln.dtln.canceller import EchoCanceller
from pipedtln.dtln.loader import AUTO, locate_model, make_processor
from pipedtln.dtln.store import Located
from pipedtln.errors import InputError, ModelError
from pipedtln.processor import MOST_BATCH, Processor
from pipedtln.stream.farend import FarEndSwitch
from pipedtln.stream.switch import NetworkSwitch

Make: TypeAlias = Callable[[Located], Processor]

QUIET = ("ns-row8", "ns-block8", "ns-int8", "ns-float")
"""Noise suppressors for ``auto``, best for the price first."""
ECHOES = tuple(
    f"aec-{size}-{precision}"
    for size in (512, 256, 128)
    for precision in ("row8", "block8", "int8", "float")
)
"""Echo cancellers for ``auto``, largest first, of each size the best first."""
RECORDING_QUIET = ("ns-row8", "ns-float", "ns-block8", "ns-int8")
RECORDING_ECHOES = tuple(
    f"aec-{size}-{precision}"
    for size in (512, 256, 128)
    for precision in ("row8", "float", "block8", "int8")
)
"""The same for recordings, which can wait: float goes before block8 there. (row8 sounds like float
and takes a third to an eighth of its time.)"""
DEAREST = 4.0
"""Times int8's cost above which others of the same size are passed over.

On x86-64 with VNNI row8 costs 1.1-1.2 times as much and block8 1.4-1.9; where onnxruntime lacks a
fast way for 8 bits, its products take twenty times as long.
"""
MOST_LOAD = 0.4
"""Share of a hop that the 99th percentile of an ``auto`` network may take on this machine."""
TRIAL_HOPS = 150
SHORT_TRIALS = 5
SHORT_TRIAL_HOPS = 10


@dataclass(frozen=True)
class ModelChoice:
    """A processor and its model's name, or why there is none."""

    name: str | None
    processor: Processor | None
    problem: str | None


def choose_model(
    wanted: str, reference: bool, threads: int, *, pipeline: bool = False, batch: int = 1
) -> ModelChoice:
    """Load the network of a name, to run live.

    ``"auto"`` is a noise suppressor that gives way to an echo canceller while the far end sounds:
    the largest one whose 99th percentile stays under 40 % of a hop on this machine now, with the
    smaller ones in reserve. Of each size it takes the first of row8, block8 and int8 that is here,
    runs and is not slow. Those that run first are ready for ``batch`` hops at once, too, if they
    were built so; the ones in reserve are not, for that takes their size in memory again.

    Raises
    ------
    ModelError
        If the name is unknown, its weights are missing or no runtime is installed.
    """
    make = partial(make_processor, threads=threads, pipeline=pipeline)

    def ready(located: Located, loaded: Processor | None = None) -> Processor:
        if batch > 1 and _built_for_batches(located):
            return make(located, batch=batch)
        return loaded or make(located)

    if wanted != AUTO:
        located = locate_model(wanted)
        return ModelChoice(located.model.name, ready(located), None)
    quiet = _best_of_each_size(QUIET, make)
    echoes = _affordable(_best_of_each_size(ECHOES, make)) if reference else []
    for found in (quiet, echoes):
        found[:1] = [(name, ready(locate_model(name), loaded)) for name, loaded in found[:1]]
    if not quiet and not echoes:
        located = locate_model(AUTO, reference=reference)
        return ModelChoice(located.model.name, ready(located), None)
    if not echoes:
        (name, processor), *_ = quiet
        return ModelChoice(name, processor, None)
    switch = NetworkSwitch(
        quiet[0][1] if quiet else None,
        [echo for _, echo in echoes if isinstance(echo, EchoCanceller)],
    )
    names = [name for name, _ in (*quiet, echoes[0])]
    return ModelChoice(f"auto ({' / '.join(names)})", switch, None)


def choose_for_recording(wanted: str, reference: bool) -> ModelChoice:
    """Load the network of a name, to process a recording.

    ``"auto"`` takes the largest echo canceller that is here, the most exact one of its size,
    whatever the machine bears, and a noise suppressor while the reference is silent.

    Raises
    ------
    ModelError
        If the name is unknown, its weights are missing, no runtime is installed, or there is a
        reference but no echo canceller.
    InputError
        If there is a reference and the named network does not listen to one.
    """
    quiet = _first_present(RECORDING_QUIET) if wanted == AUTO else None
    if quiet is not None and not reference:
        return ModelChoice(quiet[0], quiet[1], None)
    if wanted != AUTO or not reference:
        located = locate_model(wanted, reference=reference)
        if reference and located.model.kind != "aec":
            raise InputError(
                f"{located.model.name} does not listen to a reference; choose an aec model "
                "or no --ref"
            )
        return ModelChoice(located.model.name, _made_for_recording(located), None)
    echo = _first_present(RECORDING_ECHOES)
    if echo is None:
        raise ModelError(
            "no echo canceller's weights are on this machine, and --ref needs one. "
            "Get them with: pipedtln models fetch"
        )
    if quiet is None:
        return ModelChoice(echo[0], echo[1], None)
    assert isinstance(echo[1], EchoCanceller)
    switch = FarEndSwitch(quiet[1], [echo[1]])
    return ModelChoice(f"auto ({quiet[0]} / {echo[0]})", switch, None)


def _first_present(names: tuple[str, ...]) -> tuple[str, Processor] | None:
    for name in names:
        found = _loaded(name, _made_for_recording)
        if found is not None:
            return name, found
    return None


def _made_for_recording(located: Located) -> Processor:
    return make_processor(located, batch=MOST_BATCH if _built_for_batches(located) else 1)


def _built_for_batches(located: Located) -> bool:
    """Whether there are files for several hops at once, which give what one by one gives.

    A published file would have to be rebuilt in memory, which takes four times its size.
    """
    return located.model.precision == "row8"


def _loaded(name: str, make: Make) -> Processor | None:
    try:
        return make(locate_model(name))
    except ModelError:
        return None


def _best_of_each_size(names: tuple[str, ...], make: Make) -> list[tuple[str, Processor]]:
    """Of each size the first that is here and that is not slow on this machine."""
    sizes: dict[str, list[str]] = {}
    for name in names:
        sizes.setdefault(name.rpartition("-")[0], []).append(name)
    kept = []
    for size, of_size in sizes.items():
        usual = _loaded(f"{size}-int8", make)
        for name in of_size:
            found = usual if name == f"{size}-int8" else _loaded(name, make)
            if found is not None and not _is_slow(found, usual):
                kept.append((name, found))
                break
    return kept


def _is_slow(found: Processor, usual: Processor | None) -> bool:
    if usual is None or usual is found:
        return False
    # The least of several turns each: what other programs take meanwhile must not decide.
    trials = [
        (_load(found, 0, SHORT_TRIAL_HOPS), _load(usual, 0, SHORT_TRIAL_HOPS))
        for _ in range(SHORT_TRIALS)
    ]
    return min(mine for mine, _ in trials) > DEAREST * min(theirs for _, theirs in trials)


def _affordable(echoes: list[tuple[str, Processor]]) -> list[tuple[str, Processor]]:
    """Leave out what this machine cannot run in time; the smallest stays in any case."""
    for i, (_, echo) in enumerate(echoes):
        if i == len(echoes) - 1 or _load(echo, 99, TRIAL_HOPS) < MOST_LOAD:
            return echoes[i:]
    return []


def _load(processor: Processor, percentile: int, hops: int) -> float:
    """A percentile of the share of a hop that one inference takes, over hops of noise."""
    noise = np.random.default_rng(0).standard_normal((2, processor.hop)).astype(np.float32) * 0.1
    out = np.zeros(processor.hop, dtype=np.float32)
    loads = []
    for _ in range(hops):
        begin = perf_counter()
        processor.process(noise[0], noise[1], out)
        loads.append((perf_counter() - begin) * processor.sample_rate / processor.hop)
    processor.reset()
    return float(np.percentile(loads, percentile))
