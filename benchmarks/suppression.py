"""Echo suppression at every delay and drift: ``python -m benchmarks.suppression``.

Far-end single talk in one simulated room, noise 40 dB below the echo; energy of the microphone
over that of the output from 3 s on. Compares the reference as it comes, live alignment and
alignment that looks ahead.
"""

from __future__ import annotations

import argparse

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.scenes import RATE, Scene, Sound, at_level, mixed, random_room
from pipedtln.demo.conversation import sentences
from pipedtln.dtln import EchoCanceller, load_processor
from pipedtln.errors import ModelError
from pipedtln.processor import HOP, Processor
from pipedtln.stream.align import AlignedProcessor
from pipedtln.stream.lookahead import align_ahead

DELAYS_MS = (0, 20, 60, 150, 300, 500, 1000)
DRIFTS_PPM = (-300, 300)
SECONDS = 14
SETTLED_S = 3


def scene(delay_ms: float, drift_ppm: float = 0.0, seed: int = 3) -> Scene:
    """Far-end single talk whose echo comes after `delay_ms`, and later by `drift_ppm`."""
    rng = np.random.default_rng(seed)
    far = at_level(np.resize(np.concatenate(sentences("far")), SECONDS * RATE))
    late = np.arange(len(far)) * (1 - drift_ppm * 1e-6)
    played = np.interp(late, np.arange(len(far)), far).astype(np.float32)
    return mixed(rng, far, random_room(rng, 0.3, 3.0), delay_ms, played=played, snr_db=40)


def run(processor: Processor, mic: Sound, ref: Sound) -> Sound:
    """The processor's output over whole hops, late by its latency."""
    processor.reset()
    out = np.zeros(len(mic) // HOP * HOP, np.float32)
    for at in range(0, len(out), HOP):
        processor.process(mic[at : at + HOP], ref[at : at + HOP], out[at : at + HOP])
    return out


def ahead(mic: Sound, ref: Sound) -> Sound:
    """The reference, moved by :func:`align_ahead`."""
    starts = range(0, len(mic) // HOP * HOP, HOP)
    pairs = ((mic[at : at + HOP], ref[at : at + HOP]) for at in starts)
    return np.concatenate([moved for _, moved in align_ahead(pairs)])


def suppression_db(mic: Sound, out: Sound, latency: int) -> float:
    """Energy of the microphone over that of the output, from SETTLED_S on."""
    start = SETTLED_S * RATE
    before = mic[start : len(out) - latency].astype(np.float64)
    after = out[start + latency :].astype(np.float64)
    return float(10 * np.log10(np.mean(before**2) / max(np.mean(after**2), 1e-14)))


def compare(network: EchoCanceller, given: Scene) -> tuple[float, float, float]:
    """Suppression in dB: reference as it comes, aligned live, aligned ahead."""
    mic, ref = given.mic, given.ref
    live = AlignedProcessor(network)
    latency = network.latency_samples
    return (
        suppression_db(mic, run(network, mic, ref), latency),
        suppression_db(mic, run(live, mic, ref), live.latency_samples),
        suppression_db(mic, run(network, mic, ahead(mic, ref)), latency),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    models = ["aec-128-int8", "aec-256-int8", "aec-512-int8", "aec-256-float"]
    parser.add_argument("--models", nargs="*", default=models)
    options = parser.parse_args()
    scenes = {f"{ms} ms": scene(ms) for ms in DELAYS_MS}
    scenes |= {f"100 ms {ppm:+d} ppm": scene(100, ppm) for ppm in DRIFTS_PPM}
    console = Console(width=160)
    table = Table("dB: as is / live / ahead", *scenes)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("suppression", total=len(scenes) * len(options.models))
        for model in options.models:
            network = load_processor(model)
            if not isinstance(network, EchoCanceller):
                raise ModelError(f"{model} is no echo canceller; name an aec model")
            cells = []
            for given in scenes.values():
                cells.append(" / ".join(f"{value:.0f}" for value in compare(network, given)))
                progress.advance(task)
            table.add_row(model, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
