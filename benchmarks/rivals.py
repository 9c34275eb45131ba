"""Puts pipedtln beside others on the same sound: ``python -m benchmarks.rivals``.

The published recipe, RNNoise and WebRTC's echo canceller (AEC3) with its noise suppressor clean the
scenes of ``benchmarks/quality_set.py`` whose echo comes after 60 ms (a laptop) and 300 ms
(Bluetooth), and those of the near end in noise. All take turns on each scene. Needs the dependency
group ``quality``; a rival that is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import numpy as np
import soxr
from rich.console import Console
from rich.progress import Progress

from benchmarks.latency import lag
from benchmarks.quality import Rows, mean, network, shown, stream
from benchmarks.quality_scores import Scores, score
from benchmarks.quality_set import Case, simulated
from benchmarks.scenes import RATE, Sound, shifted
from pipedtln.dtln import load_processor, locate_model
from pipedtln.errors import ModelError
from pipedtln.processor import HOP, MOST_BATCH
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.farend import FarEndSwitch
from pipedtln.stream.lookahead import align_ahead
from pipedtln.stream.switch import NetworkSwitch
from pipedtln.stream.voice import Voice
from tests.dtln.recipe import Recipe

Run = Callable[[Sound, Sound], tuple[Sound, float]]
"""Cleans microphone and reference, whole hops each; the output, and the CPU seconds it took."""

TAIL = 9 * HOP
"""Silence after the sound, which gets all of it out again."""
PUBLISHED = ("ns-int8", "aec-128-int8", "aec-256-int8", "aec-512-int8")


def systems(default: str) -> dict[str, Callable[[], Run]]:
    """What makes each system, with a state of its own for one recording."""
    found: dict[str, Callable[[], Run]] = {"unprocessed": lambda: timed(lambda mic, _ref: mic)}
    found |= {f"published {name}": partial(published, name) for name in PUBLISHED}
    found |= {"process ns-row8": suppressing}
    found |= {"process aec-256-row8": partial(processing, "aec-256-row8", switched=False)}
    found |= {f"process auto ({default})": partial(processing, default, switched=True)}
    found |= {f"live {name}": partial(live, name) for name in ("aec-256-row8", default)}
    found |= {"RNNoise": rnnoise}
    found |= {"WebRTC NS": partial(webrtc, echo=False), "WebRTC AEC3": partial(webrtc, echo=True)}
    return found


def timed(run: Callable[[Sound, Sound], Sound]) -> Run:
    """Time all of it."""

    def measured(mic: Sound, ref: Sound) -> tuple[Sound, float]:
        started = time.process_time()
        out = run(mic, ref)
        return out, time.process_time() - started

    return measured


def published(name: str) -> Run:
    """The published recipe, reference as it comes."""
    return timed(Recipe(*locate_model(name).files).run)


def suppressing() -> Run:
    """The noise suppressor alone, as ``pipedtln process``."""
    suppressor = load_processor("ns-row8", batch=MOST_BATCH)
    return timed(lambda mic, ref: stream(suppressor, mic, ref, len(mic)))


def processing(name: str, *, switched: bool) -> Run:
    """As ``pipedtln process``: aligned with foresight."""
    quiet = load_processor("ns-row8", batch=MOST_BATCH) if switched else None
    switch = FarEndSwitch(quiet, [network(name, batch=MOST_BATCH)])

    def run(mic: Sound, ref: Sound) -> Sound:
        pairs = ((mic[at : at + HOP], ref[at : at + HOP]) for at in range(0, len(mic), HOP))
        aligned = np.concatenate([pair[1] for pair in align_ahead(pairs)])
        return stream(switch, mic, aligned, len(mic))

    return timed(run)


def live(name: str) -> Run:
    """As the service: aligned by what was heard so far."""
    quiet = load_processor("ns-row8", batch=2)
    voice = Voice(FailOpen(NetworkSwitch(quiet, [network(name, batch=2)])))
    return timed(lambda mic, ref: stream(voice, mic, ref, len(mic)))


def rnnoise() -> Run:
    """RNNoise in its frames of 10 ms at 48 kHz; resampling is not timed."""
    from pyrnnoise.rnnoise import FRAME_SIZE, SAMPLE_RATE, create, process_mono_frame

    state = create()

    def run(mic: Sound, _ref: Sound) -> tuple[Sound, float]:
        high = soxr.resample(mic, RATE, SAMPLE_RATE)
        high = np.pad(high, (0, -len(high) % FRAME_SIZE)).clip(-1, 1) * 32767
        frames = high.astype(np.int16).reshape(-1, FRAME_SIZE)
        started = time.process_time()
        cleaned = [process_mono_frame(state, frame)[0] for frame in frames]
        spent = time.process_time() - started
        joined = np.concatenate(cleaned).astype(np.float32) / 32767
        return soxr.resample(joined, SAMPLE_RATE, RATE)[: len(mic)].astype(np.float32), spent

    return run


def webrtc(*, echo: bool) -> Run:
    """WebRTC's audio processing in frames of 10 ms, suppression "high"."""
    from pywebrtc_audio import AudioProcessor

    processor = AudioProcessor(
        sample_rate=RATE, echo_cancellation=echo, noise_suppression=True, ns_level=2
    )
    size = RATE // 100

    def run(mic: Sound, ref: Sound) -> Sound:
        starts = range(0, len(mic), size)
        if not echo:
            return np.concatenate([processor.process(mic[at : at + size]) for at in starts])
        return np.concatenate(
            [processor.process(mic[at : at + size], ref[at : at + size]) for at in starts]
        )

    return timed(run)


def padded(sound: Sound) -> Sound:
    """Whole hops, silence at the end."""
    return np.pad(sound, (0, -len(sound) % HOP + TAIL))


def group(case: Case) -> str | None:
    """Which table a scene belongs to; None for those that are left out."""
    if case.talk == "nst":
        return "near end in noise"
    if case.subset.startswith("delay") and case.delay_ms in (60, 300):
        return f"echo after {case.delay_ms:.0f} ms"
    return None


def late_by(make: Callable[[], Run], speech: Sound) -> int:
    """Samples by which clean speech leaves later than it came."""
    out, _ = make()(padded(speech), padded(np.zeros_like(speech)))
    return lag(out[: len(speech)], speech, most_s=0.1)[0]


Result = tuple[str, str, Scores, float]
"""Group, system, scores, CPU as share of one core."""


def tables(results: list[Result], names: list[str]) -> dict[str, Rows]:
    """One table per group, one row per system."""
    made = {}
    for kind in dict.fromkeys(result[0] for result in results):
        rows = [["", "CPU %", "AECMOS", "echo", "DNSMOS", "suppression dB", "SI-SDR dB", "PESQ"]]
        for name in names:
            inside = [result for result in results if result[:2] == (kind, name)]
            scores = [result[2] for result in inside]
            columns = [
                mean([getattr(one, what) for one in scores])
                for what in ("aecmos", "echo", "overall", "suppression_db", "si_sdr_db", "pesq")
            ]
            cpu = 100 * statistics.median(result[3] for result in inside)
            rows.append([name, *("–" if math.isnan(v) else f"{v:.2f}" for v in (cpu, *columns))])
        made[kind] = rows
    return made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-kind", type=int, default=2, help="scenes of each kind")
    parser.add_argument("--model", default="aec-512-row8", help="echo canceller of auto")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    console = Console(width=160, stderr=options.json)
    scenes = simulated(options.seed, options.per_kind)
    speech = next(case.near for case in scenes if case.near is not None)
    compared = systems(options.model)
    late = {}
    for name, make in list(compared.items()):
        try:
            late[name] = 0 if name.startswith(("process", "live")) else late_by(make, speech)
        except (ImportError, ModelError) as error:
            console.print(f"{name} is left out: {error}")
            del compared[name]
    chosen = [(kind, case) for case in scenes if (kind := group(case))]
    results: list[Result] = []
    with Progress(console=console) as progress:
        task = progress.add_task("cleaning", total=len(compared) * len(chosen))
        for kind, case in chosen:
            for name, make in compared.items():
                out, spent = make()(padded(case.mic), padded(case.ref))
                out = shifted(out, -late[name])[: len(case.mic)]
                seconds = len(padded(case.mic)) / RATE
                results.append((kind, name, score(case, out), spent / seconds))
                progress.advance(task)
    if options.json:
        print(json.dumps([(a, b, asdict(c), d) for a, b, c, d in results], indent=2))
        return
    console.print(f"late by, samples: {late}")
    for title, rows in tables(results, list(compared)).items():
        console.print(shown(rows, title))


if __name__ == "__main__":
    main()
