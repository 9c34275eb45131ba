"""The inputs and outputs that PortAudio knows, and in which form they can be opened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from pipedtln.errors import DeviceNotFoundError, ServerError

Direction = Literal["input", "output"]

LOOPBACK = "Loopback"
"""Name of the card that the kernel module snd-aloop makes."""
RATES = (48_000, 44_100, 32_000, 16_000, 96_000, 192_000, 22_050, 8_000)
"""Hz; tried in this order where a card refuses its own rate."""
_HARDWARE = re.compile(r"\(hw:(\d+),(\d+)\)")


@dataclass(frozen=True)
class Card:
    """A device of PortAudio at the moment of asking.

    Attributes
    ----------
    index : its number now; another one after a card was plugged or pulled
    name : as PortAudio tells it, e.g. ``"USB Audio: - (hw:1,0)"``
    inputs, outputs : channels
    sample_rate : Hz; the one that it would choose
    """

    index: int
    name: str
    inputs: int
    outputs: int
    sample_rate: int
    is_default_input: bool = False
    is_default_output: bool = False

    @property
    def hardware(self) -> tuple[int, int] | None:
        """Numbers of card and device in ALSA, None of what ALSA's configuration makes."""
        found = _HARDWARE.search(self.name)
        return (int(found.group(1)), int(found.group(2))) if found else None

    @property
    def is_loopback(self) -> bool:
        """Whether it is snd-aloop's."""
        return self.hardware is not None and self.name.startswith(LOOPBACK)


@dataclass(frozen=True)
class Shape:
    """How a device is opened: Hz and channels."""

    sample_rate: int
    channels: int

    def __str__(self) -> str:
        return f"{self.sample_rate} Hz, {self.channels} channel{'s' * (self.channels > 1)}"


def load_portaudio() -> ModuleType:
    """The sounddevice module; its import looks for the cards, so it happens here.

    Raises
    ------
    ServerError
        If it or PortAudio is not installed.
    """
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise ServerError(
            "sounddevice is not installed; run: pip install 'pipedtln[portaudio]'"
        ) from error
    except OSError as error:
        raise ServerError(
            "the PortAudio library is not installed; install libportaudio2 (Debian) or portaudio "
            "(Fedora, Arch)"
        ) from error
    module: ModuleType = sounddevice
    return module


@contextmanager
def portaudio_errors(doing: str) -> Iterator[None]:
    """Turn PortAudio's errors into ServerError: "could not <doing>: ...".

    Raises
    ------
    ServerError
    """
    library = load_portaudio()
    try:
        yield
    except library.PortAudioError as error:
        why = str(error.args[0]).split(": ", 1)[-1] if error.args else "refused"
        raise ServerError(f"could not {doing}: {' '.join(why.split())}") from error
    except MemoryError as error:
        # cffi's callbacks need what MemoryDenyWriteExecute= of the service's unit forbids.
        raise ServerError(
            f"could not {doing}: the service may not make PortAudio's callbacks; "
            "run: pipedtln setup --backend portaudio"
        ) from error


def refresh_cards() -> None:
    """Let PortAudio look for cards again; no stream may be open.

    Raises
    ------
    ServerError
        If PortAudio fails.
    """
    library = load_portaudio()
    with portaudio_errors("look for sound cards"):
        # Its list is made once, when it starts; this is the only way to see a plugged card.
        library._terminate()
        library._initialize()


def list_cards() -> list[Card]:
    """All devices as of the last :func:`refresh_cards`.

    Raises
    ------
    ServerError
        If PortAudio is not installed or fails.
    """
    library = load_portaudio()
    with portaudio_errors("list the sound cards"):
        first_input, first_output = library.default.device
        default_input, default_output = first_input, first_output
        if library.query_hostapis():
            api = library.query_hostapis(0)
            default_input = api["default_input_device"] if first_input < 0 else first_input
            default_output = api["default_output_device"] if first_output < 0 else first_output
        return [
            _card(i, raw, default_input, default_output)
            for i, raw in enumerate(library.query_devices())
        ]


def find_card(wanted: str, direction: Direction) -> Card:
    """The device of a number or of a part of its name, as sounddevice takes them.

    Raises
    ------
    DeviceNotFoundError
        If there is none, or more than one.
    ServerError
        If PortAudio is not installed or fails.
    """
    library = load_portaudio()
    cards = list_cards()
    exact = [card for card in cards if card.name == wanted and _channels(card, direction)]
    if exact:
        return exact[0]
    key: int | str = int(wanted) if re.fullmatch(r"\d{1,4}", wanted) else wanted
    try:
        with portaudio_errors(f"look up {wanted}"):
            index = library.query_devices(key, direction)["index"]
    except (ValueError, ServerError) as error:
        several = "Multiple" in str(error)
        raise DeviceNotFoundError(
            f"{'several devices match' if several else f'no {direction} matches'} '{wanted}'; "
            "see: pipedtln devices --backend portaudio"
        ) from error
    return cards[int(index)]


def find_shape(card: Card, direction: Direction, channels: tuple[int, ...]) -> Shape:
    """A rate and number of channels that the device takes.

    Parameters
    ----------
    channels : numbers to try, in this order

    Raises
    ------
    ServerError
        If it takes none; it may be in use by another program.
    """
    library = load_portaudio()
    check = getattr(library, f"check_{direction}_settings")
    # Hardware that has the network's own rate needs no conversion; a plug-in would convert worse.
    rates = (16_000,) if card.hardware else ()
    refusal = "it has no such channels"
    for count in dict.fromkeys(min(n, _channels(card, direction)) for n in channels):
        for rate in dict.fromkeys((*rates, card.sample_rate, *RATES)):
            try:
                check(device=card.index, channels=count, dtype="float32", samplerate=rate)
            except (library.PortAudioError, ValueError) as error:
                refusal = " ".join(str(error).split())
            else:
                return Shape(rate, count)
    raise ServerError(f"'{card.name}' cannot be opened, perhaps another program uses it: {refusal}")


def _channels(card: Card, direction: Direction) -> int:
    return card.inputs if direction == "input" else card.outputs


def _card(index: int, raw: dict[str, Any], default_input: int, default_output: int) -> Card:
    return Card(
        index=index,
        name=str(raw["name"]),
        inputs=int(raw["max_input_channels"]),
        outputs=int(raw["max_output_channels"]),
        sample_rate=round(float(raw["default_samplerate"])),
        is_default_input=index == default_input,
        is_default_output=index == default_output,
    )
