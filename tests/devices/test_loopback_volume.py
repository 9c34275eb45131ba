"""DTLN Speaker's playback keeps its own volume, whatever other loopbacks are set to."""

from __future__ import annotations

import pytest

from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.devices.parts import SPEAKER_PART, loopback_part


def test_the_volume_of_another_loopback_does_not_become_ours(server: PrivateServer) -> None:
    server.add_room(coupling=0.1)
    part = loopback_part(server.SPEAKER)
    with server.connect() as pulse:
        for made in (SPEAKER_PART, part):
            pulse.module_load(made.module, made.arguments)

        def volumes() -> list[float]:
            return [
                stream.volume.value_flat
                for stream in pulse.sink_input_list()
                if stream.proplist.get("media.name") == "DTLN Speaker playback"
            ]

        assert wait_until(lambda: bool(volumes()), 5.0)
        assert volumes() == pytest.approx([1.0], abs=0.01)
