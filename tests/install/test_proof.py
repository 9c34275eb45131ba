"""The proof records what a source really carries, and names one that does not deliver."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipedtln.demo.servers import PrivateServer
from pipedtln.errors import InstallError
from pipedtln.install.proof import record_level


@pytest.fixture
def desktop(server: PrivateServer, monkeypatch: pytest.MonkeyPatch) -> PrivateServer:
    for name in ("PULSE_SERVER", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, server.env[name])
    return server


def test_level_of_a_tone_is_told_within_a_decibel(desktop: PrivateServer) -> None:
    time = np.arange(16_000 * 4) / 16_000
    tone = (0.1 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    with desktop.player(tone, desktop.MICROPHONE_INPUT):
        # The player needs a moment: the first recordings may hear nothing yet.
        levels = [record_level(desktop.MICROPHONE, 0.5) for _ in range(4)]
    print(f"a tone of -20 dBFS: {[round(level, 1) for level in levels]}")
    assert max(levels) == pytest.approx(-20.0, abs=1.0)


def test_silence_is_minus_infinity(desktop: PrivateServer) -> None:
    assert record_level(desktop.MICROPHONE, 0.2) == -math.inf


def test_a_source_that_does_not_exist_is_named(desktop: PrivateServer) -> None:
    with pytest.raises(InstallError, match="no source named 'nothing'"):
        record_level("nothing", 0.2)
