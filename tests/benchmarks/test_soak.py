"""What the soak counts as a slip of the sound."""

from __future__ import annotations

import pytest

from benchmarks.latency import Found
from benchmarks.soak import Soak, as_played, find_slips, told, verdict

USUAL = 500


def heard(lags: list[int]) -> list[Found]:
    """Windows of half a second with these lags in samples."""
    return [Found(at / 2, 60.0, lag) for at, lag in enumerate(lags)]


@pytest.mark.parametrize("aside", [[90], [90, -100], [180, 185]])
def test_a_voice_taken_for_itself_a_period_later_is_no_slip(aside: list[int]) -> None:
    lags = [USUAL] * 20 + [USUAL + by for by in aside] + [USUAL - 32] * 20
    assert find_slips(heard(lags), []) == []


@pytest.mark.parametrize("windows", [3, 8])
def test_a_slip_of_five_milliseconds_that_stays_is_told(windows: int) -> None:
    lags = [USUAL] * 20 + [USUAL + 80] * windows + [USUAL] * 20
    assert find_slips(heard(lags), []) == [10.0, 10.0 + windows / 2]


def put_in(ms: float, at_s: float) -> list[tuple[float, float]]:
    """What the bridge says each second of playing 0.4 % slower from then on, by so much in all."""
    return [(float(at), -min(ms, max(0.0, 4 * (at - at_s)))) for at in range(60)]


def test_what_is_played_slower_is_no_slip_though_windows_are_missing() -> None:
    before, after = heard([USUAL] * 20), heard([USUAL + 85] * 60)[21:]
    assert find_slips(before + after, []) == [10.5]
    assert find_slips(as_played(before + after, put_in(5.3, 9.2)), []) == []


def test_sound_that_is_lost_beside_what_is_played_slower_is_a_slip() -> None:
    found = heard([USUAL] * 20 + [USUAL + 32, USUAL + 64] + [USUAL + 85] * 4 + [USUAL] * 20)
    assert find_slips(as_played(found, put_in(5.3, 9.6)), []) == [13.0]


def test_a_great_slip_that_is_cut_after_a_second_is_told() -> None:
    lags = [USUAL] * 20 + [USUAL + 480] * 2 + [USUAL] * 20
    assert find_slips(heard(lags), []) == [10.0, 11.0]


def test_what_the_bare_microphone_lost_is_no_slip_of_the_bridge() -> None:
    lags = [USUAL] * 20 + [USUAL + 80] * 20
    assert find_slips(heard(lags), []) == [10.0]
    assert find_slips(heard(lags), [9.0]) == []
    assert find_slips(heard(lags), [14.0]) == [10.0]


def test_a_pause_in_which_the_lag_moves_is_not_looked_at() -> None:
    before, after = heard([USUAL] * 20), heard([USUAL + 80] * 40)[30:]
    assert find_slips(before + after, []) == []


def test_a_slip_is_told_with_what_latency_and_machine_did_around_it() -> None:
    found = [Found(at / 2, 60.0 if at < 20 else 65.3, USUAL) for at in range(40)]
    soak = Soak(1, found=found, stalls=[(5.0, 0.02), (9.4, 0.007), (10.2, 0.0123)])
    assert soak.around(10.0) == "10 s (60.0 to 65.3; 12+7)"
    assert soak.around(15.0) == "15 s (65.3 to 65.3; no stall)"
    assert soak.told_stalls() == "3, in 3 seconds; the longest 20 ms"
    assert soak.stalled(4.99, 5.01) == [20.0]


def calm(found: list[Found]) -> Soak:
    """An hour in which nothing but what is given was found."""
    return Soak(60, found, memory_mb=[80.0] * 60, descriptors=[37] * 60)


def test_an_hour_that_was_heard_holds() -> None:
    assert verdict(calm(heard([USUAL] * 7200))) == "yes"
    assert verdict(calm([Found(at / 2, 60.0 + at / 2000, USUAL) for at in range(7200)])) == "no"


@pytest.mark.parametrize("hours", [0.0, 0.001, 0.7])
def test_an_hour_of_which_too_little_was_heard_does_not_hold(hours: float) -> None:
    soak = calm(heard([USUAL] * round(7200 * hours)))
    assert not soak.holds
    assert verdict(soak).startswith("unknown")


def test_moments_are_counted_where_they_are_many() -> None:
    assert told([]) == "none"
    assert told([6.1, 6.2, 9.0]) == "6 (2 times), 9"
    assert told([float(at // 2) for at in range(200)]) == "200, in 100 seconds from 0 to 99"
