"""The right network at the right time."""

from __future__ import annotations

import numpy as np
import pytest

from pipedtln.processor import HOP, SAMPLE_RATE, Block
from pipedtln.stream.switch import CALM_HOPS, SLOW_HOPS, NetworkSwitch
from tests.stream.sounds import Samples, tone

WARM = 2
"""Hops that a network with a delay of one hop runs unheard."""


class Network:
    """Delays its input by one hop; its speed is set by the test."""

    sample_rate, hop, latency_samples = SAMPLE_RATE, HOP, HOP
    clock = 0.0

    def __init__(self, *, echo: bool = False, gain: float = 1.0) -> None:
        self.uses_reference = echo
        self.mic_power = self.ref_power = np.zeros(257, dtype=np.float32)
        self.gain = gain
        self.slow = False
        self.ran = 0
        self.resets = 0
        self.forgot = 0
        self._held = np.zeros(HOP, dtype=np.float32)

    def process(self, mic: Block, ref: Block, out: Block) -> None:
        if self.slow:
            Network.clock += 0.75 * HOP / SAMPLE_RATE
        held = self._held.copy()
        self._held[:] = mic
        out[:] = self.gain * held
        self.ran += 1

    def forget(self) -> None:
        self.forgot += 1

    def reset(self) -> None:
        self.resets += 1
        self._held[:] = 0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that passes in slow networks alone."""
    monkeypatch.setattr("pipedtln.stream.switch.perf_counter", lambda: Network.clock)


SOUND = tone(8000 * HOP, 250.0)


def feed(switch: NetworkSwitch, hops: int, start: int = 0) -> Samples:
    out = np.zeros((hops, HOP), dtype=np.float32)
    silence = np.zeros(HOP, dtype=np.float32)
    for i in range(hops):
        at = (start + i) * HOP
        switch.process(SOUND[at : at + HOP], silence, out[i])
    return out.ravel()


def test_echo_network_runs_only_while_the_far_end_sounds() -> None:
    quiet, echo = Network(), Network(echo=True)
    switch = NetworkSwitch(quiet, [echo])
    feed(switch, 20)
    assert (quiet.ran, echo.ran) == (20, 0)
    assert switch.active is quiet
    switch.far_end = True
    feed(switch, 20, 20)
    assert switch.active is echo
    assert quiet.ran == 20 + WARM + 1
    ran = echo.ran
    switch.far_end = False
    feed(switch, 20, 40)
    assert switch.active is quiet
    assert echo.ran == ran + WARM + 1
    assert switch.switches == 2


def test_change_fades_from_a_warm_network_and_loses_nothing() -> None:
    switch = NetworkSwitch(Network(), [Network(echo=True)])
    first = feed(switch, 20)
    switch.far_end = True
    out = np.concatenate((first, feed(switch, 20, 20)))
    assert np.allclose(out[HOP:], SOUND[: 39 * HOP], atol=1e-6)


def test_change_between_unlike_networks_does_not_click() -> None:
    switch = NetworkSwitch(Network(gain=0.2), [Network(echo=True, gain=1.0)])
    parts = [feed(switch, 20)]
    for i in range(1, 6):
        switch.far_end = i % 2 == 1
        parts.append(feed(switch, 20, 20 * i))
    out = np.concatenate(parts)[HOP:]
    assert np.abs(np.diff(out)).max() < np.abs(np.diff(SOUND)).max() + 0.3 / HOP


def test_slow_inference_lowers_the_size_and_calm_raises_it_again() -> None:
    large, small = Network(echo=True), Network(echo=True)
    switch = NetworkSwitch(Network(), [large, small])
    switch.far_end = True
    feed(switch, 20)
    assert switch.active is large
    large.slow = True
    feed(switch, SLOW_HOPS + WARM + 5)
    assert switch.active is small
    large.slow = False
    feed(switch, CALM_HOPS + 200)
    assert switch.active is large


def test_size_that_proves_too_large_is_tried_ever_more_seldom() -> None:
    large, small = Network(echo=True), Network(echo=True)
    switch = NetworkSwitch(None, [large, small])
    switch.far_end = True
    large.slow = True
    waits = []
    hops = 0
    for _ in range(4):
        while switch.active is large:
            feed(switch, 1)
        begin = hops
        while switch.active is small:
            feed(switch, 1)
            hops += 1
        waits.append((hops - begin) / CALM_HOPS)
    assert waits == pytest.approx([1, 2, 4, 8], rel=0.05)
    large.slow = False
    feed(switch, CALM_HOPS + 10)
    assert switch.active is large
    large.slow = True
    feed(switch, SLOW_HOPS + WARM + 5)
    assert switch.active is small
    large.slow = False
    feed(switch, CALM_HOPS + 200)
    assert switch.active is large, "long calm ends the doubt"


def test_one_slow_hop_changes_nothing() -> None:
    large = Network(echo=True)
    switch = NetworkSwitch(None, [large, Network(echo=True)])
    feed(switch, 20)
    large.slow = True
    feed(switch, 1)
    large.slow = False
    feed(switch, 500)
    assert switch.active is large
    assert switch.switches == 0


def test_single_network_runs_whatever_the_far_end_does() -> None:
    echo, quiet = Network(echo=True), Network()
    for only, switch in ((echo, NetworkSwitch(None, [echo])), (quiet, NetworkSwitch(quiet, []))):
        for far_end in (False, True, False):
            switch.far_end = far_end
            feed(switch, 20)
            assert switch.active is only
        assert switch.switches == 0
        assert only.ran == 60


def test_spectra_are_those_of_an_echo_network_that_ran() -> None:
    echo = Network(echo=True)
    switch = NetworkSwitch(Network(), [echo])
    feed(switch, 5)
    assert switch.mic_power is None
    assert switch.ref_power is None
    switch.far_end = True
    feed(switch, 20)
    assert switch.mic_power is echo.mic_power
    assert switch.ref_power is echo.ref_power


def test_networks_of_different_delay_are_refused() -> None:
    other = Network(echo=True)
    other.latency_samples = 512  # type: ignore[misc]
    with pytest.raises(ValueError, match="latency"):
        NetworkSwitch(Network(), [other])


def test_only_the_echo_canceller_that_runs_is_told_to_forget() -> None:
    quiet, large, small = Network(), Network(echo=True), Network(echo=True)
    switch = NetworkSwitch(quiet, [large, small])
    feed(switch, 5)
    switch.forget()
    assert (large.forgot, small.forgot) == (0, 0)
    switch.far_end = True
    feed(switch, WARM)
    switch.forget()
    feed(switch, 5)
    switch.forget()
    assert (quiet.forgot, large.forgot, small.forgot) == (0, 2, 0)
