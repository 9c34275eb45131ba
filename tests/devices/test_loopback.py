"""DTLN Speaker's playback keeps its own volume, and asks no short cycles of PipeWire's graph."""

from __future__ import annotations

import json
import subprocess
from typing import Any

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


def test_playback_leaves_the_period_of_the_graph_to_others(pipewire: PrivateServer) -> None:
    part = loopback_part(pipewire.SPEAKER)
    with pipewire.connect() as pulse:
        for made in (SPEAKER_PART, part):
            pulse.module_load(made.module, made.arguments)

    def asked() -> list[str]:
        dump = subprocess.run(
            ["pw-dump"], env=pipewire.env, capture_output=True, text=True, check=True
        ).stdout
        properties = [item["info"]["props"] for item in json.loads(dump) if "props" in _info(item)]
        return [
            node["node.latency"]
            for node in properties
            if node.get("media.name") == "DTLN Speaker playback"
        ]

    assert wait_until(lambda: asked() == ["1024/48000"] * 2, 5.0), asked()


def _info(item: dict[str, Any]) -> dict[str, Any]:
    return item.get("info") or {}
