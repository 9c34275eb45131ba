"""A card of six channels whose last one is a hardware loopback, on a private server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.processor import SAMPLE_RATE

CARD = "fake_card"
SURROUND = "front-left,front-right,rear-left,rear-right,front-center,lfe"
NUMBERED = "aux0,aux1,aux2,aux3,aux4,aux5"


def plug_card(server: PrivateServer, positions: str = SURROUND) -> None:
    """Make the card appear as the source ``fake_card``, with a channel for each position."""
    channels = len(positions.split(","))
    with server.connect() as pulse:
        pulse.module_load(
            "module-null-sink",
            f"sink_name={CARD}_hw norewinds=1 rate=48000 "
            f"channels={channels} channel_map={positions} "
            "sink_properties='device.description=\"Air before the card\"'",
        )
        pulse.module_load(
            "module-remap-source",
            f"source_name={CARD} master={CARD}_hw.monitor "
            f"channels={channels} channel_map={positions} "
            f"master_channel_map={positions} remix=no "
            "source_properties='device.description=\"Card with loopback\" device.class=sound'",
        )
        assert wait_until(lambda: CARD in {one.name for one in pulse.source_list()}, timeout=5.0)


@contextmanager
def heard_by_card(
    server: PrivateServer, sound: NDArray[np.float32], positions: str = SURROUND
) -> Iterator[None]:
    """Play into the card: float32, shape (n, channels), 16 kHz, a column for each channel."""
    raw = server.folder / "card.raw"
    sound.astype(np.float32).tofile(raw)
    command = ["pacat", "--playback", "--raw", "--format=float32le", f"--rate={SAMPLE_RATE}",
               f"--channels={sound.shape[1]}", f"--channel-map={positions}", "--no-remix",
               f"--device={CARD}_hw"]  # fmt: skip
    with raw.open("rb") as file:
        player = subprocess.Popen(command, env=server.env, stdin=file)
    try:
        yield
    finally:
        player.terminate()
        player.wait()
