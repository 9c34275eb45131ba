"""Recorders whose sound arrives when the server has it."""

from __future__ import annotations

import os

from pipedtln.demo.apps import Recording
from pipedtln.demo.servers import PrivatePipeWire, PrivateServer


class CycleRecording(Recording):
    """What a ``pw-record`` records: every cycle of the graph, as soon as it is over.

    PipeWire's pulse server waits until a fragment is full. How full it is at the end of a cycle
    depends on when the stream began and on every sound lost since, so that two recorders of one
    source differ by up to 11 ms, another time by none.
    """

    def _command(self, source: str | None, latency_ms: int) -> list[str]:
        return [
            "pw-record",
            *(() if source is None else ("--target", source)),
            "--format=f32",
            f"--rate={self.rate}",
            f"--channels={self.channels}",
            f"--latency={latency_ms}ms",
            str(self._file),
        ]


def prompt_recorder(server: PrivateServer, source: str) -> Recording:
    """Start the recorder of a source, not a monitor, that delays most evenly; mono, 16 kHz."""
    if isinstance(server, PrivatePipeWire):
        return CycleRecording(source, server.env, server.folder)
    return server.recorder(source)


def in_memory() -> str:
    """A folder for servers whose recorders shall not wait for a disk: sound is lost meanwhile."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
