"""What the benchmarks find again where a recorder has lost sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.latency import SAMPLE_RATE, Arrivals, find_delays, marker
from benchmarks.soak import conversation, find_losses


def without(sound: np.ndarray, at: int, count: int) -> np.ndarray:
    return np.concatenate((sound[:at], sound[at + count :]))


@pytest.mark.parametrize("count", [100, 4_000, 20_000])
@pytest.mark.parametrize("at_s", [67, 80])
def test_what_a_bystander_lost_is_told_however_much_and_whoever_spoke(
    at_s: int, count: int
) -> None:
    near = np.tile(conversation()[0], 3)
    heard = without(np.concatenate((np.zeros(4_000, np.float32), near)), at_s * SAMPLE_RATE, count)
    told = find_losses(heard, near)
    # The moment, or where the voice goes on after fifteen seconds without it.
    assert told
    assert told[0] >= at_s - 1
    assert told[-1] <= (at_s + 2 if at_s == 67 else 92)


@dataclass
class Grown:
    """A recording that arrives in pieces of 10 ms, and what is lost does not."""

    lost_s: float
    lost: int
    begun: int = 0
    count: int = 0

    def grow(self, now_s: float) -> None:
        whole = int(now_s * 100) * SAMPLE_RATE // 100
        self.count = (
            self.begun + whole - min(self.lost, max(0, whole - round(self.lost_s * SAMPLE_RATE)))
        )


def arrived(seconds: int, *recordings: Grown) -> Arrivals:
    """What a look each 2 ms sees of them."""
    arrivals = Arrivals(*recordings)
    for look in range(500 * seconds):
        for recording in recordings:
            recording.grow(look / 500)
        arrivals.look(look / 500)
    return arrivals


@pytest.mark.parametrize("count", [100, 4_000, 20_000])
@pytest.mark.parametrize("who", ["straight", "through"])
def test_latency_is_found_after_any_loss_of_either_recorder(who: str, count: int) -> None:
    seconds, late = 40, 1_200
    sounds = {"straight": marker(seconds), "through": marker(seconds)}
    sounds["through"] = np.concatenate((np.zeros(late, np.float32), sounds["through"]))
    sounds[who] = without(sounds[who], 15 * SAMPLE_RATE, count)
    arrivals = arrived(seconds, *(Grown(15, count if who == name else 0) for name in sounds))
    found = find_delays(arrivals, sounds["straight"], sounds["through"])
    after = [one.delay_ms for one in found if one.at_s > 18]
    assert len(after) >= 15
    assert after == pytest.approx([1000 * late / SAMPLE_RATE] * len(after), abs=11)


def test_latency_is_found_though_one_recorder_began_seconds_before_the_other() -> None:
    seconds, late, before = 30, 1_200, 4 * SAMPLE_RATE
    straight = marker(seconds)
    through = np.concatenate((np.zeros(before + late, np.float32), straight))
    arrivals = arrived(seconds, Grown(seconds, 0), Grown(seconds, 0, begun=before))
    delays = [one.delay_ms for one in find_delays(arrivals, straight, through)]
    assert len(delays) >= 20
    assert delays == pytest.approx([1000 * late / SAMPLE_RATE] * len(delays), abs=11)


def test_latency_is_found_again_where_it_has_moved_far() -> None:
    seconds, far = 60, SAMPLE_RATE // 2
    straight = marker(seconds)
    through = np.insert(straight, 20 * SAMPLE_RATE, np.zeros(far, np.float32))
    arrivals = arrived(seconds, Grown(seconds, 0), Grown(seconds, 0))
    found = find_delays(arrivals, straight, through)
    before, after = (
        [one.delay_ms for one in found if first <= one.at_s < end]
        for first, end in ((0, 19), (32, seconds))
    )
    assert (len(before) >= 15, len(after) >= 20) == (True, True)
    assert before == pytest.approx([0.0] * len(before), abs=11)
    assert after == pytest.approx([1000 * far / SAMPLE_RATE] * len(after), abs=11)
