"""A control connection to the private server of a test."""

from __future__ import annotations

from collections.abc import Iterator

import pulsectl
import pytest

from pipedtln.audio.server import connect
from pipedtln.demo.servers import PrivateServer


@pytest.fixture
def pulse(server: PrivateServer) -> Iterator[pulsectl.Pulse]:
    """Connect as the bridge does, to each kind of server in turn."""
    with connect(server.url) as connection:
        yield connection
