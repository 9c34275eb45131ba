"""Echo stays cancelled at any delay of the loudspeaker, and while its clock drifts."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
import soxr

from pipedtln.control.api import Status
from pipedtln.demo.servers import PrivateServer
from pipedtln.devices.names import MICROPHONE, SPEAKER
from pipedtln.processor import SAMPLE_RATE
from tests.live.pauses import timed_pauses
from tests.live.sound import (
    MOST_SLIP_MS,
    Sound,
    level_db,
    moved_ms,
    play_with_echo,
    speech,
    talking,
)
from tests.service.bridge import RunningBridge

SECONDS = 9.0
DRIFTING_S = 27.0
"""At 300 ppm that moves the echo by a hop while it is measured. What a network cancels depends on
where in a hop the echo lies (33.5 to 40.6 dB of this voice), and players start anywhere."""
SETTLED_S = 3.0
"""The far end talks that long before the measure begins."""
LEAST_DB = 35
ATTEMPTS = 6
MOST_PAUSE_MS = 10.0
"""More, and servers have been seen to lose sound of one stream, which the other needs a second to
make up for."""


@pytest.mark.parametrize(
    "delay_ms",
    [
        pytest.param(delay, marks=[] if delay == 300 else [pytest.mark.long])
        for delay in (0, 20, 60, 150, 300, 500, 1000)
    ],
)
def test_echo_is_cancelled_at_any_delay(
    server: PrivateServer, bridge: RunningBridge, delay_ms: int
) -> None:
    # PulseAudio refuses a loopback of 0 ms.
    server.add_room(delay_ms=delay_ms or 1)
    assert suppression_of(server, bridge, f"{delay_ms} ms", speech("far", SECONDS)) >= LEAST_DB


@pytest.mark.parametrize(
    "drift_ppm", [pytest.param(-300, marks=pytest.mark.long), pytest.param(300)]
)
def test_echo_stays_cancelled_while_the_loudspeakers_clock_drifts(
    server: PrivateServer, bridge: RunningBridge, drift_ppm: int
) -> None:
    far = speech("far", DRIFTING_S)
    rate = SAMPLE_RATE * (1 + drift_ppm * 1e-6)
    echo = 0.5 * soxr.resample(np.concatenate([np.zeros(1600, np.float32), far]), SAMPLE_RATE, rate)
    drift_ms = abs(drift_ppm) * 1e-3 * DRIFTING_S
    suppression = suppression_of(
        server, bridge, f"{drift_ppm} ppm", far, echo, most_slip_ms=drift_ms
    )
    assert suppression >= LEAST_DB


def suppression_of(
    server: PrivateServer,
    bridge: RunningBridge,
    what: str,
    far: Sound,
    echo: Sound | None = None,
    *,
    most_slip_ms: float = MOST_SLIP_MS,
) -> float:
    """How much quieter the far end is on DTLN Microphone, in dB.

    A run below :data:`LEAST_DB` in which the output ran dry, the bare microphone's echo moved by
    more than `most_slip_ms` or the machine stood still measured a machine that was busy with other
    things; it is told and repeated, :data:`ATTEMPTS` times in all at most.
    """
    for _ in range(ATTEMPTS):
        before = bridge.status().xruns
        with timed_pauses() as pauses_ms:
            suppression, slip_ms, status = play(server, bridge, far, echo)
        underruns = max(0, status.xruns - before)
        print(
            f"{type(server).__name__}: {what}: {suppression:.1f} dB; status: delay "
            f"{status.echo_delay_ms} ms, {status.echo_suppression_db} dB, "
            f"{status.bypassed_hops} hops let through, {underruns} underruns, the echo at the bare "
            f"microphone moved by {slip_ms:.1f} ms; the machine stood still for "
            f"{max(pauses_ms):.1f} ms"
        )
        disturbed = underruns > 0 or slip_ms > most_slip_ms or max(pauses_ms) > MOST_PAUSE_MS
        if suppression >= LEAST_DB or not disturbed:
            break
    return suppression


def play(
    server: PrivateServer, bridge: RunningBridge, far: Sound, echo: Sound | None
) -> tuple[float, float, Status]:
    """Play the far end, and an echo of our own making where there is no room to make it."""
    with ExitStack() as stack:
        mic = stack.enter_context(server.recorder(server.MICROPHONE))
        out = stack.enter_context(server.recorder(MICROPHONE))
        bridge.wait_state("running")
        if echo is None:
            server.play(far, SPEAKER)
        else:
            play_with_echo(server, far, echo.astype(np.float32))
        status = bridge.status()
        heard, cleaned = mic.stop(), out.stop()
    count = min(len(heard), len(cleaned))
    window = talking(heard[:count], after_s=SETTLED_S)
    return level_db(heard[window]) - level_db(cleaned[window]), moved_ms(heard, far), status
