"""The channels of the microphone that the settings pick, on a card with a hardware loopback."""

from __future__ import annotations

from dataclasses import dataclass

import pulsectl

from pipedtln.audio.channels import choose_channels
from pipedtln.config import Config
from pipedtln.devices.listing import list_sources
from pipedtln.devices.selection import reference_channel
from pipedtln.errors import DeviceError


@dataclass(frozen=True)
class Picked:
    """Channels counted from 0, and the positions of all; nothing where the server mixes."""

    mic: int | None = None
    ref: int | None = None
    channels: tuple[str, ...] = ()


def wants_channels(config: Config) -> bool:
    """Whether the settings name a channel at all."""
    return config.mic_channel != "auto" or reference_channel(config.reference) is not None


def wished_channels(config: Config) -> tuple[int | None, int | None]:
    """Channels of microphone and reference as the settings name them, negative from the end."""
    mic = None if config.mic_channel == "auto" else int(config.mic_channel)
    return mic, reference_channel(config.reference)


def choose_or_do_without(
    channels: int, device: str, config: Config
) -> tuple[int | None, int | None, str | None]:
    """Channels of microphone and reference, counted from 0, and what is wrong with the wish.

    What the card lacks is left out: the microphone goes on without a reference, on its first
    channel, or as the mix of all.
    """
    mic, ref = wished_channels(config)
    problem: str | None = None
    for wish in ((mic, ref), (mic, None), (None, ref)):
        try:
            found = choose_channels(channels, device, *wish)
        except DeviceError as error:
            problem = problem or str(error)
        else:
            if ref is None or found[1] is not None:
                return (*found, problem)
            # Not the mix: on a card with a loopback that would hold what is to be cancelled.
            return found[0] or 0, None, f"no echo is cancelled: {problem}"
    return None, None, problem


def pick_channels(pulse: pulsectl.Pulse, mic: str, config: Config) -> tuple[Picked, str | None]:
    """Look at the microphone's channels for those that the settings name.

    Returns
    -------
    What to open, and one line that says what is wrong with the wish or None.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    device = next((source for source in list_sources(pulse) if source.name == mic), None)
    if device is None:
        return Picked(), None  # it went between two looks; the next one is due
    mic_index, ref_index, problem = choose_or_do_without(device.channels, mic, config)
    if mic_index is None and ref_index is None:
        return Picked(), problem
    return Picked(mic_index, ref_index, device.channel_map), problem
