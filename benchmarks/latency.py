"""What the bridge adds to the way of a voice: ``python -m benchmarks.latency``.

Noise goes into a simulated microphone of a private server; one app records that microphone and
another DTLN Microphone. How much later the same noise reaches the second one is found by
correlation, once a second. The bridge runs as its users run it, its network bypassed (noise would
not survive it; the delay is the same).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.signal import butter, correlate, resample_poly, sosfilt

from benchmarks.priorities import as_on_a_desktop
from benchmarks.recorders import in_memory, prompt_recorder
from pipedtln.audio.api import PERIODS
from pipedtln.demo.bridge import MICROPHONE, running_bridge
from pipedtln.demo.servers import PrivatePipeWire, PrivatePulseAudio, PrivateServer
from pipedtln.processor import SAMPLE_RATE

Sound = NDArray[np.float32]

SERVERS: dict[str, type[PrivateServer]] = {
    "pulseaudio": PrivatePulseAudio,
    "pipewire": PrivatePipeWire,
}
BACKENDS = ("pulse", "pipewire")
"""Those that carry the sound of either of these servers; the first is what users have."""
SETTLE_S = 5.0
LIKE = 0.7
"""Correlation from which two stretches of sound are the same."""
MISSED = 10
"""Stretches in a row that are not recognized, after which they are looked for further away."""
SOONER_S, LATER_S = 0.5, 2.0
"""How far away, around the moment at which they arrive straight."""
NEAR_S = 0.2
"""How far from where they were expected stretches are looked for otherwise."""
MARKER_HZ = 800
"""Up to where the noise goes whose delay is looked for."""
FIGURES = ("p5", "median", "p95", "most", "s", "dry", "wakes/s", "CPU %", "with server")
"""Added latency in ms: percentiles and the greatest; seconds that were found, underruns, wake-ups,
and shares of a core: the service's, and with the server's processes."""


def marker(seconds: float) -> Sound:
    """Noise that is recognized even where the pacer plays it 0.4 % faster or slower.

    In a tenth of a second that moves it by 0.4 ms, a third of the shortest period that is in it;
    of white noise of the whole band nothing would be left alike.
    """
    noise = np.random.default_rng(7).normal(0, 0.1, round(seconds * SAMPLE_RATE))
    low = butter(4, MARKER_HZ, fs=SAMPLE_RATE, output="sos")
    return np.asarray(sosfilt(low, noise), np.float32)


def lag(late: Sound, early: Sound, most_s: float = 2.0) -> tuple[int, float]:
    """Samples by which ``late`` lies behind ``early``, and the correlation there."""
    count = min(len(late), len(early))
    late, early = late[:count], early[:count]
    reach = round(most_s * SAMPLE_RATE)
    products = correlate(late, early, "full", "fft")[count - 1 - reach : count + reach]
    best = int(np.argmax(products)) - reach
    a, b = overlap(late, early, best)
    return best, float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b) + 1e-12))


def overlap(late: Sound, early: Sound, by: int) -> tuple[Sound, Sound]:
    """Both cut to where they tell of the same sound."""
    late, early = (late[by:], early) if by >= 0 else (late, early[-by:])
    count = min(len(late), len(early))
    return late[:count], early[:count]


class Counted(Protocol):
    """A recording that tells how many samples it has."""

    @property
    def count(self) -> int: ...


class Arrivals:
    """When the samples of recordings arrive: a common clock for several of them."""

    def __init__(self, *recordings: Counted) -> None:
        self._recordings = recordings
        self._looks: list[list[tuple[float, ...]]] = [[] for _ in recordings]

    def watch(self, seconds: float) -> None:
        """Look at the recordings' growth for that long."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self.look(now)
            time.sleep(0.002)

    def look(self, now: float) -> None:
        """Note what has been recorded by now, in seconds of a clock that never goes back."""
        for looks, recording in zip(self._looks, self._recordings, strict=True):
            looks.append((recording.count, now))

    def first(self, which: int) -> int:
        """Number of the first sample whose arrival was watched."""
        return int(self._looks[which][0][0])

    def arrival_s(self, which: int, sample: int) -> float:
        """When this sample arrived, by the soonest arrival of the second that follows it.

        Each look bounds the arrival of all samples before it from above. Only those near by
        count: a server may leave gaps.
        """
        looks = self._looks[which]
        near = looks[bisect_left(looks, (sample,)) : bisect_left(looks, (sample + SAMPLE_RATE,))]
        if not near:
            raise AssertionError(f"nobody looked when sample {sample} arrived")
        return min(now - count / SAMPLE_RATE for count, now in near) + sample / SAMPLE_RATE

    def seconds(self, at_s: float) -> float:
        """Where in the first recording that moment is, in seconds."""
        return self.sample(0, at_s) / SAMPLE_RATE

    def sample(self, which: int, at_s: float) -> int:
        """Number of the sample that arrived then: the inverse of :meth:`arrival_s`."""
        looks = self._looks[which]
        moments = (at_s, at_s + 1)
        first, end = (bisect_left(looks, moment, key=lambda look: look[1]) for moment in moments)
        if first == end:
            raise AssertionError(f"nobody looked {at_s:.3f} s after the clock began")
        return round(max(count - (now - at_s) * SAMPLE_RATE for count, now in looks[first:end]))


@dataclass(frozen=True)
class Found:
    """A stretch of sound that was recognized in both recordings."""

    at_s: float
    """Where it begins in the recording of the bare microphone."""
    delay_ms: float
    """How much later it reached the app that records DTLN Microphone."""
    lag: int
    """The same in samples of the two recordings, whose beginnings differ."""


def find_delays(
    arrivals: Arrivals,
    straight: Sound,
    through: Sound,
    size: int = SAMPLE_RATE // 10,
    every: int = SAMPLE_RATE,
) -> list[Found]:
    """By how much sound arrives later through the bridge than straight.

    Parameters
    ----------
    size : samples that are looked for: a tenth of a second of a :func:`marker`, more of speech
    every : samples after which it is looked again
    """

    def recognize(start: int, size: int, soonest_s: float, latest_s: float) -> Found | None:
        """By the clock and not by the number: either recorder may have lost any amount by then."""
        arrived = arrivals.arrival_s(0, start)
        at = max(0, arrivals.sample(1, arrived + soonest_s))
        reach = round((latest_s - soonest_s) * SAMPLE_RATE)
        if at + reach + 2 * size > len(through):
            return None
        shift, likeness = locate(straight[start : start + size], through[at:], reach)
        if likeness <= LIKE:
            return None
        later = arrivals.arrival_s(1, at + shift) - arrived
        return Found(start / SAMPLE_RATE, 1000 * later, at + shift - start)

    found: list[Found] = []
    usual_s: float | None = None
    missed = 0
    first = arrivals.first(0) + SAMPLE_RATE
    for start in range(first, len(straight) - 2 * SAMPLE_RATE, every):
        if usual_s is None or missed == MISSED:
            afar = recognize(start, SAMPLE_RATE, -SOONER_S, LATER_S)
            if afar is not None:
                usual_s = afar.delay_ms / 1000
            missed = 0
        if usual_s is None:
            continue
        one = recognize(start, size, usual_s - NEAR_S, usual_s + NEAR_S)
        if one is None:
            missed += 1
        else:
            missed = 0
            found.append(one)
    return found


def locate(piece: Sound, within: Sound, reach: int) -> tuple[int, float]:
    """Where in a sound a piece is likest, and the normalised correlation there.

    The pacer may have played it faster or slower: the pitch of a voice that glides would then be
    found again a period aside, so that all three are tried.

    Parameters
    ----------
    reach : samples from the beginning of ``within`` at which it may begin
    """
    found = []
    for up, down in ((1, 1), (255, 256), (257, 256)):
        played = piece if up == down else resample_poly(piece, up, down).astype(np.float32)
        among = within[: len(played) + reach]
        products = correlate(among, played, "valid", "fft")
        energies = correlate(among**2, np.ones_like(played), "valid", "fft")
        likeness = products / np.sqrt(np.maximum(energies, 1e-9) * np.dot(played, played) + 1e-12)
        best = int(np.argmax(likeness))
        found.append((float(likeness[best]), best))
    most, at = max(found)
    return at, most


def cpu_seconds(pid: int) -> float:
    """Processor time that a process's threads have used so far, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def cpu_shares(server: PrivateServer, pid: int, act: Callable[[], None]) -> tuple[float, float]:
    """Per cent of a core that a process takes meanwhile, and that it takes with the server's."""

    def spent() -> NDArray[np.float64]:
        own = cpu_seconds(pid)
        return np.array([own, own + sum(map(cpu_seconds, server.pids()))])

    cpu, began = spent(), time.monotonic()
    act()
    own, all_of_them = 100 * (spent() - cpu) / (time.monotonic() - began)
    return float(own), float(all_of_them)


def told(
    found: list[Found], dry: int, wakes_per_s: float, shares: tuple[float, float]
) -> list[str]:
    """The :data:`FIGURES` of one row."""
    delays = [one.delay_ms for one in found]
    return [
        *(f"{value:.0f}" for value in (*np.percentile(delays, [5, 50, 95]), max(delays))),
        str(len(delays)),
        str(dry),
        f"{wakes_per_s:.0f}",
        *(f"{share:.1f}" for share in shares),
    ]


def measure(kind: str, setting: str, backend: str, seconds: float, logs: Path) -> list[str]:
    """One row of the table: server, setting, backend and :data:`FIGURES`."""
    options = ("--latency", setting, "--backend", backend, "--bypass")
    log = logs / f"{kind}-{setting}-{backend}.log"
    with (
        SERVERS[kind](inside=in_memory()) as server,
        running_bridge(server, "auto", log, lambda _a, _b: None, *options) as ask,
        server.player(marker(seconds + 3 * SETTLE_S), server.MICROPHONE_INPUT),
        prompt_recorder(server, server.MICROPHONE) as straight,
        prompt_recorder(server, MICROPHONE) as through,
    ):
        time.sleep(SETTLE_S)
        before = ask()
        arrivals = Arrivals(straight, through)
        shares = cpu_shares(server, before["pid"], lambda: arrivals.watch(seconds))
        after = ask()
        found = find_delays(arrivals, straight.stop(), through.stop())
    dry, wakes = after["xruns"] - before["xruns"], after["wakeups_per_s"] or 0
    return [kind, setting, backend, *told(found, dry, wakes, shares)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--server", choices=SERVERS, nargs="*", default=list(SERVERS))
    parser.add_argument("--latency", choices=PERIODS, nargs="*", default=list(PERIODS))
    parser.add_argument("--backend", choices=BACKENDS, nargs="*", default=[BACKENDS[0]])
    wanted = parser.parse_args()
    table = Table("server", "latency", "backend", *FIGURES)
    runs = [
        (kind, setting, backend)
        for kind in wanted.server
        for setting in wanted.latency
        for backend in wanted.backend
        if backend == "pulse" or kind == "pipewire"
    ]
    with as_on_a_desktop(), Progress() as progress, tempfile.TemporaryDirectory() as logs:
        task = progress.add_task("measuring", total=len(runs))
        for kind, setting, backend in runs:
            table.add_row(*measure(kind, setting, backend, 60 * wanted.minutes, Path(logs)))
            progress.advance(task)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
