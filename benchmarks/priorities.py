"""The priorities that sound has on a desktop, for benchmarks that listen to it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipedtln.service.realtime import system_bus_address
from tests.service.rtkit import may_have_priority, rtkit


@contextmanager
def as_on_a_desktop() -> Iterator[None]:
    """Let bridges that start meanwhile find rtkit: the system's, or a stand-in on a bus of its own.

    Sound servers have theirs without it, where the kernel gives this user any; so without it they
    and every recorder of PipeWire's would go before the bridge, as they do on no desktop.
    """
    system_bus = Path(system_bus_address().removeprefix("unix:path="))
    if system_bus.exists() or not may_have_priority():
        yield
        return
    with tempfile.TemporaryDirectory() as folder, rtkit(Path(folder)) as env:
        os.environ.update(env)
        try:
            yield
        finally:
            for name in env:
                del os.environ[name]
