"""All that happens to one hop."""

from __future__ import annotations

import numpy as np

from pipedtln.processor import HOP, SAMPLE_RATE
from pipedtln.stream.failopen import FailOpen
from pipedtln.stream.farend import HANG_SAMPLES
from pipedtln.stream.switch import NetworkSwitch
from pipedtln.stream.voice import Voice
from tests.stream.sounds import tone
from tests.stream.test_failopen import LATENCY, Delay
from tests.stream.test_switch import Network

SOUND = tone(2000 * HOP).reshape(-1, HOP)
SILENCE = np.zeros(HOP, dtype=np.float32)


def switched() -> tuple[Voice, NetworkSwitch]:
    switch = NetworkSwitch(Network(), [Network(echo=True)])
    return Voice(FailOpen(switch, HOP)), switch


def feed(voice: Voice, ref: np.ndarray, hops: int) -> None:
    out = np.zeros(HOP, dtype=np.float32)
    for i in range(hops):
        voice.process(SOUND[i], ref, out)


def test_far_end_calls_the_echo_network_and_pauses_keep_it() -> None:
    voice, switch = switched()
    feed(voice, SILENCE, 20)
    assert not switch.active.uses_reference
    feed(voice, SOUND[3], 20)
    assert switch.active.uses_reference
    feed(voice, SILENCE, HANG_SAMPLES // HOP - 10)
    assert switch.active.uses_reference
    feed(voice, SILENCE, 40)
    assert not switch.active.uses_reference


def test_noise_floor_of_the_reference_is_no_far_end() -> None:
    voice, switch = switched()
    feed(voice, np.full(HOP, 1e-4, dtype=np.float32), 50)
    assert not switch.active.uses_reference


def test_output_is_the_microphone_delayed_as_told() -> None:
    voice = Voice(FailOpen(Delay(gain=1.0)))
    out = np.zeros((100, HOP), dtype=np.float32)
    for i in range(100):
        voice.process(SOUND[i], SILENCE, out[i])
    assert voice.latency_samples == LATENCY
    assert np.allclose(out.ravel()[LATENCY + HOP :], SOUND[:100].ravel()[HOP:-LATENCY], atol=1e-6)
    assert voice.hops == 100


def test_nothing_of_a_broken_processor_gets_out() -> None:
    processor = Delay()
    processor.breaks = RuntimeError("no more")
    voice = Voice(FailOpen(processor))
    out = np.full(HOP, np.nan, dtype=np.float32)
    for i in range(10):
        voice.process(SOUND[i], SOUND[i], out)
        assert np.isfinite(out).all()
    assert voice.processing.bypassed_hops == 10


def test_reset_forgets_sound_and_far_end() -> None:
    voice, switch = switched()
    feed(voice, SOUND[3], SAMPLE_RATE // HOP)
    voice.reset()
    out = np.ones(HOP, dtype=np.float32)
    voice.process(SILENCE, SILENCE, out)
    assert not out.any()
    assert voice.alignment.echo_delay_ms is None
    feed(voice, SILENCE, 20)
    assert not switch.active.uses_reference
