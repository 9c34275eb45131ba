"""Does a linear echo canceller before DTLN-aec help? ``python -m benchmarks.linear``.

A partitioned-block frequency-domain Kalman filter after alignment, its error the network's
microphone. Enzner & Vary, Signal Processing 86 (2006); partitions as Kuech, Mabande & Enzner,
ICASSP 2014. Needs the dependency group ``quality``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.quality import System, cleaned, markdown, mean, network, shown, stream
from benchmarks.quality_scores import Scores, score
from benchmarks.quality_set import Case, recorded, simulated
from benchmarks.scenes import Sound
from benchmarks.suppression import ahead
from pipedtln.dtln import locate_model
from pipedtln.processor import HOP, Block


class KalmanFilter:
    """Takes the linear part of the echo out, hop by hop.

    Parameters
    ----------
    partitions : hops that the filter is long
    memory : how much of the path stays from hop to hop
    """

    def __init__(self, partitions: int = 12, memory: float = 0.9995) -> None:
        bins = HOP + 1
        self._keep = memory**2
        self._refs = np.zeros((partitions, bins), np.complex64)
        self._path = np.zeros((partitions, bins), np.complex64)
        self._doubt = np.full((partitions, bins), 0.1, np.float32)
        self._rest = np.full(bins, 1e-3, np.float32)
        self._input = np.zeros(2 * HOP, np.float32)
        self._padded = np.zeros(2 * HOP, np.float32)

    def process(self, mic: Block, ref: Block) -> Block:
        """One hop of microphone without what the filter takes for echo."""
        self._input[:HOP] = self._input[HOP:]
        self._input[HOP:] = ref
        self._refs[1:] = self._refs[:-1].copy()
        self._refs[0] = np.fft.rfft(self._input)
        echo = np.fft.irfft((self._refs * self._path).sum(axis=0))[HOP:]
        error = (mic - echo).astype(np.float32)
        self._padded[HOP:] = error
        spectrum = np.fft.rfft(self._padded)
        energy = np.square(np.abs(self._refs))
        self._rest += 0.1 * (np.square(np.abs(spectrum)) - self._rest)
        share = (energy * self._doubt).sum(axis=0) * 0.5 + self._rest + 1e-8
        gain = self._doubt / share
        update = np.fft.irfft(gain * np.conj(self._refs) * spectrum, axis=1)
        update[:, HOP:] = 0.0
        self._path += np.fft.rfft(update, axis=1)
        self._doubt *= 1.0 - 0.5 * energy * gain
        self._doubt *= self._keep
        self._doubt += (1.0 - self._keep) * np.square(np.abs(self._path))
        return error


def filtered(case: Case, *, then: str | None) -> Sound:
    """The case through alignment and the Kalman filter, and through a network `then`."""
    short = -len(case.mic) % HOP + 9 * HOP
    mic, ref = np.pad(case.mic, (0, short)), np.pad(case.ref, (0, short))
    ref = ahead(mic, ref)
    kalman = KalmanFilter()
    hops = range(0, len(mic), HOP)
    error = np.concatenate([kalman.process(mic[a : a + HOP], ref[a : a + HOP]) for a in hops])
    if then is None:
        return error[: len(case.mic)]
    return stream(network(then), error, ref, len(case.mic))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-kind", type=int, default=1)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--recordings", type=Path, default=Path("../shared/audio"))
    options = parser.parse_args()
    model = locate_model(options.model, reference=True).model.name
    cases = simulated(options.seed, options.per_kind) + recorded(options.recordings)
    cases = [case for case in cases if case.talk != "nst"]
    ways = {
        "network": lambda case: cleaned(System("", "file", model), case),
        "Kalman filter": lambda case: filtered(case, then=None),
        "Kalman filter, network": lambda case: filtered(case, then=model),
    }
    console = Console(width=160)
    kinds = {
        "simulated, far end": lambda c: (
            c.talk == "st" and c.near is None and c.delay_ms is not None
        ),
        "simulated, both": lambda c: c.talk == "dt" and c.delay_ms is not None,
        "recorded": lambda c: c.delay_ms is None,
    }
    rows = [["", *(f"{kind}: {what}" for kind in kinds for what in ("echo", "degradation"))]]
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("linear", total=len(ways) * len(cases))
        for name, way in ways.items():
            scores: list[Scores] = []
            for case in cases:
                scores.append(score(case, way(case)))
                progress.advance(task)
            row = [name]
            for belongs in kinds.values():
                inside = [s for s, c in zip(scores, cases, strict=True) if belongs(c)]
                row += [f"{mean([s.echo for s in inside]):.2f}"]
                row += [f"{mean([s.degradation for s in inside]):.2f}"]
            rows.append(row)
    console.print(shown(rows, model))
    console.print(markdown(rows))


if __name__ == "__main__":
    main()
