"""How much sound stands ready, after what lateness."""

from __future__ import annotations

import pytest

from pipedtln.processor import HOP, SAMPLE_RATE
from pipedtln.stream.margin import LOWER_HOPS, RAISE, Margin, least_margin
from pipedtln.stream.pacer import OutputPacer
from tests.stream.test_pacer import run

MORE = 400
LEAST = least_margin(HOP)
MOST = LEAST + MORE


def hops(margin: Margin, seconds: float, late: int = 0) -> None:
    for _ in range(round(seconds * SAMPLE_RATE / HOP)):
        margin.hop(late)


def dry(margin: Margin, late: int, then_s: float) -> None:
    """An underrun by that lateness, and what follows."""
    margin.underrun()
    margin.hop(late)
    hops(margin, then_s)


def longest() -> Margin:
    """One to which underruns have added all they may."""
    margin = Margin(MORE)
    for _ in range(3):
        dry(margin, MOST - RAISE, 1)
    assert margin.samples == MOST
    return margin


def test_third_underrun_within_five_minutes_has_all_but_the_worst_covered() -> None:
    margin = Margin(MORE)
    for late in (400, 100):
        dry(margin, late, 140)
        assert margin.samples == LEAST
    dry(margin, 300, 1)
    assert margin.samples == 300 + RAISE


def test_two_underruns_now_and_then_add_nothing() -> None:
    margin = Margin(MORE)
    for _ in range(10):
        dry(margin, 300, 5)
        dry(margin, 350, 301)
    assert margin.samples == LEAST


def test_what_no_margin_would_cover_adds_nothing() -> None:
    margin = Margin(MORE)
    for _ in range(20):
        dry(margin, MOST + 1, 30)
    assert margin.samples == LEAST


def test_a_long_stall_between_leaves_what_the_others_need() -> None:
    margin = Margin(MORE)
    for late in (200, 2000, 220):
        dry(margin, late, 20)
    assert margin.samples == 220 + RAISE


@pytest.mark.parametrize(("before_s", "covered"), [(0.1, 300), (1, LEAST)])
def test_lateness_just_before_an_underrun_is_told_is_its_own(before_s: float, covered: int) -> None:
    margin = Margin(MORE)
    for _ in range(3):
        margin.hop(300)
        hops(margin, before_s)
        dry(margin, 0, 20)
    assert margin.samples == covered + RAISE


def test_margin_never_exceeds_what_may_be_added() -> None:
    margin = Margin(MORE)
    for _ in range(200):
        dry(margin, MOST - RAISE, 5)
    assert margin.samples == MOST


@pytest.mark.parametrize(("late", "left"), [(0, LEAST + MORE // 2), (300, 300 + RAISE)])
def test_calm_halves_what_was_added_but_for_what_is_used(late: int, left: int) -> None:
    margin = Margin(MORE)
    for _ in range(3):
        dry(margin, MOST - RAISE, 1)
    assert margin.samples == MOST
    for _ in range(10):
        hops(margin, 29.9)
        margin.hop(late)
    hops(margin, 2)
    assert margin.samples == left


def test_long_stalls_do_not_keep_a_margin_that_they_could_not_use() -> None:
    margin = Margin(MORE)
    for _ in range(3):
        dry(margin, 300, 30)
    assert margin.samples > LEAST
    for _ in range(60):
        dry(margin, 5000, 61)
    assert margin.samples == LEAST


@pytest.mark.parametrize(("idle", "left"), [(0, MORE), (0.9, MORE), (1, MORE // 2), (100, 0)])
def test_what_was_added_stays_at_the_next_opening_but_for_what_calm_takes(
    idle: float, left: int
) -> None:
    margin = longest()
    margin.reset(HOP, round(idle * LOWER_HOPS))
    assert margin.samples == LEAST + left


def test_underrun_at_every_opening_adds_nothing() -> None:
    margin = Margin(MORE)
    for _ in range(20):
        margin.reset(HOP)
        dry(margin, 200, 10)
    assert margin.samples == LEAST


def test_another_period_begins_with_its_own_margin() -> None:
    margin = longest()
    margin.reset(2 * HOP)
    assert margin.samples == least_margin(2 * HOP)


def test_late_machine_is_heard_in_the_first_recording_and_not_in_the_next() -> None:
    stalls = {20.0 * i: 0.018 for i in range(1, 8)}
    pacer, underruns = OutputPacer(), []
    for _ in range(3):
        pacer.reset(HOP)
        underruns.append(run(160, stalls=stalls, pacer=pacer).device.underruns)
    print(f"underruns in each of three recordings: {underruns}")
    assert underruns[0] > 0
    assert underruns[1:] == [0, 0]


def test_machine_that_is_late_again_and_again_is_heard_only_at_first() -> None:
    stalls = {20.0 * i: 0.018 if i % 3 else 0.025 for i in range(1, 170)}
    early, whole = (
        run(seconds, period_ms=16.0, stalls={at: s for at, s in stalls.items() if at < seconds - 5})
        for seconds in (300, 3500)
    )
    soon, in_all = early.device.underruns, whole.device.underruns
    print(f"{len(stalls)} stalls, {soon} underruns in the first five minutes, {in_all} in all")
    assert 0 < soon < 6
    assert in_all <= 2 * soon
