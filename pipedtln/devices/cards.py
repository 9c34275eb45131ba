"""Decides which cards to use where there is ALSA alone, and whether an app records there."""

from __future__ import annotations

from pathlib import Path

from pipedtln.audio.cards import LOOPBACK, Card, find_card, list_cards
from pipedtln.errors import DeviceError, DeviceNotFoundError

ASOUND = Path("/proc/asound")


def choose_card_microphone(wanted: str = "auto") -> Card:
    """The input to clean.

    Parameters
    ----------
    wanted : a number or a part of a name, or ``"auto"``: the default input, unless that is
        snd-aloop's; then the first real card

    Raises
    ------
    DeviceNotFoundError
        If there is none, or more than one of the wanted name.
    ServerError
        If PortAudio is not installed or fails.
    """
    if wanted != "auto":
        return find_card(wanted, "input")
    real = [card for card in list_cards() if card.inputs and not card.is_loopback]
    if not real:
        raise DeviceNotFoundError(
            "no card with an input is connected; plug one in, or see: "
            "pipedtln devices --backend portaudio"
        )
    return max(
        real, key=lambda card: (card.is_default_input, card.hardware is not None, -card.index)
    )


def choose_card_output(wanted: str = "auto") -> Card:
    """The output that gets the clean sound.

    Parameters
    ----------
    wanted : a number or a part of a name, or ``"auto"``: the first device of snd-aloop. Never a
        loudspeaker, which the microphone would hear.

    Raises
    ------
    DeviceNotFoundError
        If there is none, or more than one of the wanted name.
    ServerError
        If PortAudio is not installed or fails.
    """
    if wanted != "auto":
        return find_card(wanted, "output")
    for card in list_cards():
        if card.is_loopback and card.outputs:
            return card
    raise DeviceNotFoundError(
        "no virtual microphone: load it with: sudo modprobe snd-aloop, or set output to a device "
        "that 'pipedtln devices --backend portaudio' lists"
    )


def check_no_loop(mic: Card, out: Card) -> None:
    """Refuse to read what is written.

    Raises
    ------
    DeviceError
        If both are ends of the same card of snd-aloop.
    """
    if mic.is_loopback and mic.hardware and out.hardware and mic.hardware[0] == out.hardware[0]:
        raise DeviceError(
            f"'{mic.name}' carries pipedtln's own sound, which would make a loop; "
            "choose another from: pipedtln devices --backend portaudio"
        )


def is_recorded(out: Card, asound: Path = ASOUND) -> bool | None:
    """Whether an app records what is played to a device of snd-aloop.

    Its device 0 comes out at device 1 and the other way round; the kernel tells which substreams
    of it are open.

    Returns
    -------
    None where that cannot be told, as of any other card.
    """
    if out.hardware is None:
        return None
    card, device = out.hardware
    folder = asound / f"card{card}"
    try:
        if (folder / "id").read_text().strip().partition("_")[0] != LOOPBACK:
            return None
        states = [
            file.read_text().strip()
            for file in sorted(folder.glob(f"pcm{1 - device}c/sub*/status"))
        ]
    except OSError:
        return None
    return any(state != "closed" for state in states) if states else None
