"""A long conversation through the bridge: ``python -m benchmarks.soak --minutes 60``.

The bridge runs as its users run it, on a private server, in a simulated room. Near and far talker
take turns; one app records DTLN Microphone, bystanders the bare microphone: one as promptly as the
server allows, and one through the same pulse server as the bridge. Asked is what a day would show:
does the latency drift, does memory grow, is sound lost that the bystanders have?

With ``--stall-every 25`` the whole machine is held for 8 to 25 ms each 25 s: what a busy day does
in passing is seen within minutes. That takes the right to real-time priority.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.latency import (
    BACKENDS,
    LIKE,
    SERVERS,
    SETTLE_S,
    Arrivals,
    Found,
    Sound,
    find_delays,
    lag,
    locate,
)
from benchmarks.priorities import as_on_a_desktop
from benchmarks.recorders import in_memory, prompt_recorder
from benchmarks.stalls import LONGEST_S, SHORTEST_S, STALL_S, made_stalls, watched_stalls
from pipedtln.audio.api import PERIODS
from pipedtln.control.client import BridgeClient, ask
from pipedtln.demo.bridge import MICROPHONE, SPEAKER, running_bridge
from pipedtln.demo.conversation import sentences
from pipedtln.processor import SAMPLE_RATE
from tests.service.rtkit import may_have_priority

ROUND_S = 60
"""Seconds after which the conversation begins anew: near, far, both, nobody, 15 each."""
ENDS_S = 300.0
"""Seconds at both ends whose latencies are compared, or a quarter of a shorter run."""
WINDOW = SAMPLE_RATE // 2
"""Samples that are looked for, and after which it is looked again."""
SLIP = 72
"""Samples (4.5 ms) by which a window may lie elsewhere than the one before, what the pacer moved it
by counted in: while that goes on, half a second of a voice is placed to some 2 ms."""
HEARD_S = 0.3
"""Seconds from where a window begins in the bare microphone's recording to when the pacer has the
middle of it."""
MOST_LOST = 2 * SAMPLE_RATE
"""Samples that may go lost at once and are found: after eleven seconds the voice says the same."""
GROSS_SLIP = 320
"""Samples (20 ms): two periods of a low voice, and from where on the pacer cuts instead."""
LOOK_S = 1
"""Seconds after which it is asked for underruns."""
WARM_S = 60.0
"""Seconds after which memory is looked at first: all networks have been used by then."""
DRIFT_GOAL_MS, GROWTH_GOAL_MB = 2.0, 1.0
PARTS = 6
"""Parts of a run, or one for each minute of a shorter one, of which each must have been heard."""
LEAST_HEARD = 0.1
"""Share of a part's half seconds that must have been recognized; somebody near talks in half."""
MOST_MOMENTS = 40
"""Moments that are told one by one."""


@dataclass
class Soak:
    """What a run of that many minutes has shown."""

    minutes: int
    found: list[Found] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    realtime: bool = False
    """Whether the bridge got real-time priority."""
    queue_ms: list[float] = field(default_factory=list)
    slips: list[float] = field(default_factory=list)
    bystander_slips: list[float] = field(default_factory=list)
    corrected: list[tuple[float, float]] = field(default_factory=list)
    """When (s) and how much sound (ms) the pacer had taken out by then, inaudibly."""
    dry: list[float] = field(default_factory=list)
    """When there were underruns, a second later at the most."""
    stalls: list[tuple[float, float]] = field(default_factory=list)
    """When (s) and how long (s) the machine itself stood still."""
    bypassed_hops: int = 0
    dropped_hops: int = 0

    @property
    def drift_ms(self) -> float:
        """Median latency at the end less that at the beginning; nan where nothing was heard."""
        if not self.found:
            return np.nan
        begin, end = self.found[0].at_s, self.found[-1].at_s
        reach = min(ENDS_S, (end - begin) / 4)
        first = [one.delay_ms for one in self.found if one.at_s <= begin + reach]
        last = [one.delay_ms for one in self.found if one.at_s >= end - reach]
        return float(np.median(last) - np.median(first))

    @property
    def sixths_ms(self) -> list[float]:
        """Median latencies of six parts of what was heard, which tell steps from a creep."""
        return [
            float(np.median([one.delay_ms for one in part]))
            for part in np.array_split(np.array(self.found, object), PARTS)
            if len(part)
        ]

    @property
    def heard(self) -> bool:
        """Whether enough was recognized, all the time, to say anything."""
        parts = min(PARTS, self.minutes)
        moments = [one.at_s for one in self.found]
        counts, _ = np.histogram(moments, parts, (0.0, 60.0 * self.minutes))
        return bool(counts.min() >= LEAST_HEARD * 60 * self.minutes * SAMPLE_RATE / WINDOW / parts)

    @property
    def moved_ms(self) -> tuple[float, float]:
        """Sound that the pacer took out, and that it put in."""
        moved = np.diff([ms for _, ms in self.corrected])
        return float(moved[moved > 0].sum()), float(-moved[moved < 0].sum())

    def around(self, at: float) -> str:
        """A slip's second, latencies (ms) of the two before and after it, stalls (ms) meanwhile."""
        before = [one.delay_ms for one in self.found if at - 2 <= one.at_s < at]
        after = [one.delay_ms for one in self.found if at < one.at_s <= at + 2]
        old, new = (np.median(part) if part else np.nan for part in (before, after))
        stalls = "+".join(f"{late:.0f}" for late in self.stalled(at - 1.0, at + 1.0))
        return f"{at:.0f} s ({old:.1f} to {new:.1f}; {stalls or 'no stall'})"

    def stalled(self, begin: float, end: float) -> list[float]:
        """Lengths (ms) of the machine's stalls between two seconds of the run, longest first."""
        found = [1000 * late for at, late in self.stalls if begin <= at + late and at <= end]
        return sorted(found, reverse=True)

    def told_stalls(self) -> str:
        """Their number, how many seconds had one, and the longest."""
        if not self.stalls:
            return "none"
        seconds = len({int(at) for at, _ in self.stalls})
        longest = max(late for _, late in self.stalls)
        return f"{len(self.stalls)}, in {seconds} seconds; the longest {1000 * longest:.0f} ms"

    @property
    def growth_mb(self) -> float:
        """Median of the last three looks at memory less that of the first three."""
        return float(np.median(self.memory_mb[-3:]) - np.median(self.memory_mb[:3]))

    @property
    def holds(self) -> bool:
        """Whether it was heard that nothing drifted, grew or got lost."""
        return (
            self.heard
            and abs(self.drift_ms) < DRIFT_GOAL_MS
            and self.growth_mb < GROWTH_GOAL_MB
            and not self.slips
            and max(self.descriptors) <= self.descriptors[0] + 2
        )


def conversation() -> tuple[Sound, Sound]:
    """A round of what near and far talker say, faint noise under the near; float32, 16 kHz."""
    quarter = ROUND_S // 4 * SAMPLE_RATE
    near, far = (
        np.resize(np.concatenate(sentences(who)), quarter) * np.float32(0.5)
        for who in ("near", "far")
    )
    silence = np.zeros(quarter, np.float32)
    noise = np.random.default_rng(3).normal(0, 1e-3, 4 * quarter).astype(np.float32)
    near_round = np.concatenate((near, silence, near, silence)) + noise
    far_round = np.concatenate((silence, far, far, silence))
    return near_round, far_round


def as_played(found: list[Found], corrected: list[tuple[float, float]]) -> list[Found]:
    """Where windows would lie had nothing been played faster or slower.

    That loses no sound, but moves it: by a cycle of 5 ms within little more than a second, in which
    windows are hard to place and often one is not recognized at all. What is left is lost sound.

    Parameters
    ----------
    corrected : seconds of the bare microphone's recording, and the bridge's ``corrected_ms`` there
    """
    moments, taken_ms = np.array(corrected).T
    at = [one.at_s + HEARD_S for one in found]
    taken = np.interp(at, moments, taken_ms * SAMPLE_RATE / 1000)
    return [replace(one, lag=round(one.lag + more)) for one, more in zip(found, taken, strict=True)]


def find_slips(found: list[Found], lost: list[float]) -> list[float]:
    """Seconds where sound lies elsewhere than just before, unless lost before the bridge.

    What slips stays there for seconds, unless it is far off: that is cut after a moment. One window
    or two that lie elsewhere than those around them are a voice taken for itself a period later, as
    happens where the pacer corrects.
    """
    return sorted(
        {
            at
            for windows, least in ((5, SLIP), (3, GROSS_SLIP))
            for at in _find_steps(found, windows, least)
            if not any(at - 1.5 <= moment <= at + 2 for moment in lost)
        }
    )


def _find_steps(found: list[Found], windows: int, least: int) -> list[float]:
    """Where the median lag of some windows changes by more than ``least`` samples."""
    lags, around = [one.lag for one in found], windows // 2
    steady = [
        float(np.median(lags[max(0, at - around) : at + around + 1])) for at in range(len(lags))
    ]
    return [
        after.at_s
        for (before, old), (after, new) in pairwise(zip(found, steady, strict=True))
        if after.at_s - before.at_s < 1.5 and abs(new - old) > least
    ]


def find_losses(straight: Sound, played: Sound) -> list[float]:
    """Seconds of the bystander's recording where what was played lies elsewhere than before."""
    by, _ = lag(straight[: 40 * SAMPLE_RATE], played[: 40 * SAMPLE_RATE], most_s=20.0)
    losses = []
    for at in range(max(0, by), len(straight) - SAMPLE_RATE, SAMPLE_RATE):
        start = at - by
        theirs = played[start : start + SAMPLE_RATE]
        if len(theirs) < SAMPLE_RATE or np.abs(theirs).max() < 0.05:
            continue
        heard = straight[at : at + SAMPLE_RATE]
        shift, likeness = lag(heard, theirs, most_s=0.2)
        if likeness < LIKE:
            # More was lost at once, or while nobody spoke: the trail would stay lost.
            early = max(0, start - MOST_LOST)
            ahead, likeness = locate(heard, played[early:], 2 * MOST_LOST)
            shift = start - early - ahead
        if likeness > LIKE and shift:
            by += shift
            if abs(shift) > SLIP:
                losses.append(at / SAMPLE_RATE)
    return losses


def memory_mb(pid: int) -> float:
    """Resident memory that is not shared with files."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} tells no RssAnon")


def soak(
    kind: str, options: tuple[str, ...], minutes: int, log: Path, stall_every_s: float | None
) -> Soak:
    """Run it; ``options`` are the service's own."""
    result = Soak(minutes)
    near, far = conversation()
    times = minutes + 2
    with (
        SERVERS[kind](inside=in_memory()) as server,
        running_bridge(server, "auto", log, lambda _a, _b: None, *options),
        watched_stalls() as stalls,
        ExitStack() as stack,
        Progress() as progress,
    ):
        server.add_room(delay_ms=60)
        with (
            prompt_recorder(server, server.MICROPHONE) as straight,
            server.recorder(server.MICROPHONE) as beside,
            prompt_recorder(server, MICROPHONE) as through,
            server.player(near, server.MICROPHONE_INPUT, times=times),
            server.player(far, SPEAKER, times=times),
        ):
            time.sleep(SETTLE_S)
            pid = ask(BridgeClient.status, address=server.bus_address).pid
            if stall_every_s is not None:
                stack.enter_context(made_stalls(stall_every_s))
            arrivals = Arrivals(straight, through)
            begun, dry = time.monotonic(), list[float]()
            corrected = list[tuple[float, float]]()
            for _ in progress.track(range(minutes), description=f"talking on {kind}"):
                for _ in range(60 // LOOK_S):
                    arrivals.watch(LOOK_S)
                    status = ask(BridgeClient.status, address=server.bus_address)
                    dry += [time.monotonic()] * (status.xruns - len(dry))
                    corrected.append((time.monotonic(), status.corrected_ms))
                if time.monotonic() - begun >= WARM_S:
                    result.memory_mb.append(memory_mb(pid))
                    result.descriptors.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
                # (It tells no parts while it opens its streams anew.)
                result.queue_ms.append(status.latency_parts_ms.get("queue", np.nan))
            # (All but the last moment, after which nobody looked what arrived.)
            until = time.monotonic() - 2.0
            result.dry = [arrivals.seconds(at) for at in dry if at < until]
            result.corrected = [(arrivals.seconds(at), ms) for at, ms in corrected if at < until]
            result.stalls = [
                (arrivals.seconds(at), late) for at, late in stalls() if begun < at < until
            ]
            heard, cleaned, heard_beside = straight.stop(), through.stop(), beside.stop()
    result.realtime = "has real-time priority" in log.read_text()
    result.bypassed_hops = status.bypassed_hops
    result.dropped_hops = status.dropped_hops
    result.found = find_delays(arrivals, heard, cleaned, WINDOW, WINDOW)
    # Both began within half a second of each other, which is well within what is told apart.
    near = np.tile(near, times)
    result.bystander_slips = sorted(find_losses(heard, near) + find_losses(heard_beside, near))
    result.slips = find_slips(as_played(result.found, result.corrected), result.bystander_slips)
    return result


def told(moments: list[float]) -> str:
    """Seconds, with how often if more than once; of many, how many and from when to when."""
    times = Counter(round(at) for at in moments)
    if len(times) > MOST_MOMENTS:
        return f"{len(moments)}, in {len(times)} seconds from {min(times)} to {max(times)}"
    return ", ".join(f"{at} ({n} times)" if n > 1 else str(at) for at, n in times.items()) or "none"


def verdict(result: Soak) -> str:
    """Whether it holds, in words."""
    if not result.heard:
        return "unknown: too little of the voice was recognized"
    return "yes" if result.holds else "no"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--server", choices=SERVERS, default="pipewire")
    parser.add_argument("--latency", choices=PERIODS, default="balanced")
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0])
    parser.add_argument(
        "--stall-every",
        type=float,
        metavar="SECONDS",
        help=f"hold the whole machine for {SHORTEST_S} to {LONGEST_S} s this often",
    )
    wanted = parser.parse_args()
    if wanted.stall_every is not None and not may_have_priority():
        parser.error("stalls are made by real-time priority, which this user may not have")
    options = ("--latency", wanted.latency, "--backend", wanted.backend)
    logging.basicConfig(level=logging.WARNING)
    with as_on_a_desktop(), tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        result = soak(wanted.server, options, wanted.minutes, log, wanted.stall_every)
    delays = [one.delay_ms for one in result.found]
    table = Table(
        "of",
        f"{wanted.minutes} minutes on {wanted.server}, {wanted.latency}, backend {wanted.backend}",
    )
    for what, value in (
        ("latency p5, median, p95", "{:.1f}, {:.1f}, {:.1f} ms".format(
            *np.percentile(delays or [np.nan], [5, 50, 95]))),
        ("latency, median of each sixth", ", ".join(f"{ms:.1f}" for ms in result.sixths_ms)),
        ("latency, end less beginning", f"{result.drift_ms:+.2f} ms"),
        ("played away, put in", "{:.1f}, {:.1f} ms".format(*result.moved_ms)),
        ("queue at each minute", ", ".join(f"{ms:.0f}" for ms in result.queue_ms)),
        ("memory, first and last", f"{result.memory_mb[0]:.1f}, {result.memory_mb[-1]:.1f} MB"),
        ("memory, growth", f"{result.growth_mb:+.2f} MB"),
        ("descriptors", f"{min(result.descriptors)} to {max(result.descriptors)}"),
        ("half seconds recognized", str(len(delays))),
        ("slips that the bystander has not", ", ".join(map(result.around, result.slips)) or "none"),
        ("slips of the bystander", told(result.bystander_slips)),
        ("underruns", told(result.dry)),
        ("hops let through, dropped", f"{result.bypassed_hops}, {result.dropped_hops}"),
        (f"stalls of the machine over {1000 * STALL_S:.0f} ms", result.told_stalls()),
        ("underruns within a second of one", told([at for at in result.dry
            if result.stalled(at - 1.0, at)])),
        ("the sound's real-time priority", "from rtkit" if result.realtime else "none"),
        ("holds", verdict(result)),
    ):  # fmt: skip
        table.add_row(what, value)
    Console(width=100).print(table)
    sys.exit(not result.holds)


if __name__ == "__main__":
    main()
