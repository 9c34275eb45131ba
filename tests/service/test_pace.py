"""Failures are tried again ever more seldom, bursts cause one look, the journal stays readable."""

from __future__ import annotations

import logging
import time

import pytest

from pipedtln.service import journal
from pipedtln.service.backoff import Backoff
from pipedtln.service.causes import SOON_S, Causes
from pipedtln.service.recheck import CLIENT_PAUSE_S, SETTLE_S, Recheck


def test_pauses_double_up_to_the_longest_and_start_anew_after_success() -> None:
    backoff = Backoff(0.5, 3.0)
    assert backoff.due(0.0)
    pauses = []
    for _ in range(5):
        backoff.fail(100.0)
        pauses.append(backoff.at - 100.0)
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert not backoff.due(102.9)
    assert backoff.due(103.0)
    backoff.reset()
    assert backoff.due(0.0)
    for _ in range(5000):
        backoff.fail(0.0)
    assert backoff.at == 3.0


def test_burst_of_causes_is_taken_at_once() -> None:
    causes = Causes()
    for _ in range(50):
        causes.post("recorders")
        causes.post("devices")
    assert causes.take(1.0) == {"recorders", "devices"}
    begin = time.monotonic()
    assert causes.take(0.05) == set()
    assert time.monotonic() - begin < 0.5


def test_mere_changes_cause_one_look_a_moment_later() -> None:
    causes = Causes()
    begin = time.monotonic()
    looks = 0
    while time.monotonic() - begin < 2.5 * SOON_S:
        causes.post("soon")
        looks += causes.take(0.01) == {"devices"}
        time.sleep(0.005)
    assert looks == 2


def test_mere_change_wakes_nobody_before_its_look_is_due() -> None:
    causes = Causes()
    begin = time.monotonic()
    causes.post("soon")
    assert causes.take(5.0) == {"devices"}
    assert 0.9 * SOON_S <= time.monotonic() - begin < 2.5
    assert causes.take(0.01) == set()


def test_what_is_urgent_does_not_wait_for_a_mere_change() -> None:
    causes = Causes()
    causes.post("soon")
    causes.post("recorders")
    assert causes.take(5.0) == {"recorders"}
    assert causes.take(5.0) == {"devices"}


def test_defaults_are_asked_anew_a_moment_after_devices_changed_and_until_they_rest() -> None:
    recheck = Recheck()
    assert not recheck.due(1e9)
    recheck.devices_changed(10.0)
    recheck.devices_changed(10.0 + 0.9 * SETTLE_S)
    assert not recheck.due(10.0 + 0.9 * SETTLE_S)
    assert recheck.due(10.0 + SETTLE_S)
    recheck.done(10.0 + SETTLE_S)
    assert recheck.at == pytest.approx(10.0 + 1.9 * SETTLE_S)
    recheck.done(10.0 + 1.9 * SETTLE_S)
    assert recheck.at is None


def test_defaults_are_not_asked_anew_for_each_client_nor_for_ourselves() -> None:
    recheck = Recheck()
    recheck.client_came(10.0)
    assert recheck.at == 10.0 + SETTLE_S
    recheck.done(10.0 + SETTLE_S)
    recheck.client_came(10.0 + SETTLE_S + 0.01)
    assert recheck.at is None
    recheck.client_came(10.0 + 0.9 * CLIENT_PAUSE_S)
    assert recheck.at is None
    recheck.client_came(10.0 + 1.1 * CLIENT_PAUSE_S)
    assert recheck.at == pytest.approx(10.0 + 1.1 * CLIENT_PAUSE_S + SETTLE_S)


def test_line_that_repeats_itself_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(journal, "monotonic", lambda: now[0])
    logger = logging.getLogger("pipedtln.test")
    sparing = journal.Sparing(most=3, window_s=60)
    logger.addFilter(sparing)

    def say(number: int) -> None:
        logger.warning("again %d", number)

    try:
        for i in range(10):
            say(i)
        logger.warning("another")
        now[0] = 61.0
        say(10)
        say(11)
    finally:
        logger.removeFilter(sparing)
    assert caplog.messages[:4] == ["again 0", "again 1", "again 2", "another"]
    assert caplog.messages[4:] == ["again 10 (and 7 like this in the last minute)", "again 11"]
