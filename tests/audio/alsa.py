"""ALSA devices that are those of a private PulseAudio; no configuration of the user's is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipedtln.demo.servers import PrivateServer

_DEVICE = """
pcm.{name} {{ type pulse server "{server}" device "{device}" }}
ctl.{name} {{ type pulse server "{server}" device "{device}" }}
"""


def device_text(server: PrivateServer, name: str, device: str) -> str:
    """ALSA configuration of a device that takes any rate and number of channels."""
    return _DEVICE.format(name=name, server=server.url, device=device)


def write_alsa(folder: Path, *texts: str) -> dict[str, str]:
    """Write a configuration; returns the variables that make ALSA read it alone."""
    file = folder / "alsa.conf"
    file.write_text("</usr/share/alsa/alsa.conf>\n" + "\n".join(texts))
    return {"ALSA_CONFIG_PATH": str(file)}


@contextmanager
def alsa_of(folder: Path, *texts: str) -> Iterator[None]:
    """Let this process see these devices."""
    from pipedtln.audio.cards import refresh_cards

    with pytest.MonkeyPatch.context() as patch:
        for name, value in write_alsa(folder, *texts).items():
            patch.setenv(name, value)
        refresh_cards()
        yield
