"""Which channels of a card are the microphone and the reference."""

from __future__ import annotations

from pipedtln.audio.api import Route
from pipedtln.errors import DeviceError


def picks_channels(route: Route) -> bool:
    """Whether the microphone must be opened with all its channels."""
    return route.mic_channel is not None or route.ref_channel is not None


def channel_index(channel: int, channels: int, device: str) -> int:
    """Place of a channel in each frame.

    Parameters
    ----------
    channel : 0 is the first, -1 the last one
    channels : how many the device has

    Raises
    ------
    DeviceError
        If it has no such channel.
    """
    index = channel if channel >= 0 else channels + channel
    if not 0 <= index < channels:
        raise DeviceError(
            f"'{device}' has no channel {channel}: it has {channels}, of which 0 is the first and "
            "-1 the last; see: pipedtln devices"
        )
    return index


def choose_channels(
    channels: int, device: str, mic: int | None, ref: int | None
) -> tuple[int | None, int | None]:
    """Channels of the microphone and the reference on one card, counted from 0.

    Parameters
    ----------
    mic : wanted channel; None is the mix of all, or the first one besides the reference
    ref : channel that carries what the loudspeakers play, None if none does

    Raises
    ------
    DeviceError
        If the card lacks one of them, or both are the same.
    """
    ref_index = None if ref is None else channel_index(ref, channels, device)
    if mic is not None:
        mic_index = channel_index(mic, channels, device)
        if mic_index == ref_index:
            raise DeviceError(
                f"channel {mic} of '{device}' cannot be both microphone and reference; "
                "set mic_channel to another one"
            )
        return mic_index, ref_index
    if ref_index is None:
        return None, None
    if channels < 2:
        raise DeviceError(
            f"'{device}' has one channel only, so that none can carry the reference; "
            'set reference to "auto" or another microphone'
        )
    return (1 if ref_index == 0 else 0), ref_index
