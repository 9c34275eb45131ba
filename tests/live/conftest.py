"""A bridge that runs on each private server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipedtln.demo.servers import PrivateServer
from tests.service.bridge import RunningBridge


@pytest.fixture
def bridge(server: PrivateServer, models: Path) -> Iterator[RunningBridge]:
    """A bridge that waits for recorders."""
    with RunningBridge(server) as running:
        running.wait_state("idle", timeout=60)
        yield running
        if running.runs:
            assert running.stop() == 0
