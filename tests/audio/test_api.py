"""What the server's account of its buffers tells of the echo."""

from __future__ import annotations

import pytest

from pipedtln.audio.api import Latency


@pytest.mark.parametrize(
    ("mic_ms", "ref_ms", "echo_ms"),
    [(10.0, -180.0, 190.0), (25.0, 5.0, 20.0), (2.0, 8.0, None), (10.0, -5000.0, None)],
)
def test_echo_comes_when_the_loudspeaker_has_played_and_the_microphone_heard(
    mic_ms: float, ref_ms: float, echo_ms: float | None
) -> None:
    assert Latency(mic_ms, ref_ms).echo_ms == echo_ms
