"""A running bridge on each private server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipedtln.demo.servers import PrivateServer
from tests.service.bridge import RunningBridge


@pytest.fixture(autouse=True)
def weights(models: Path) -> None:
    """Every service here has weights, whichever test runs first."""


@pytest.fixture
def bridge(server: PrivateServer, models: Path) -> Iterator[RunningBridge]:
    """Run the service with its defaults, until its devices are there and nobody records."""
    with RunningBridge(server) as running:
        running.wait_state("idle")
        yield running
        print(running.log())


@pytest.fixture
def open_bridge(server: PrivateServer, models: Path) -> Iterator[RunningBridge]:
    """Run the service bypassed by the user, so that test tones pass."""
    with RunningBridge(server, env={"PIPEDTLN_BYPASS": "on"}) as running:
        running.wait_for(lambda status: status.mic == server.MICROPHONE)
        yield running
        print(running.log())
