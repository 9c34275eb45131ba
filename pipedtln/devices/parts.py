"""The four modules that make up the virtual devices, and how each is told from other programs'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipedtln.devices.arguments import is_owned, parse, properties
from pipedtln.devices.names import (
    MICROPHONE,
    OUTPUT,
    OUTPUT_MONITOR,
    SPEAKER,
    SPEAKER_MONITOR,
)

Role = Literal["speaker", "loopback", "output", "microphone"]

LOOPBACK_LATENCY_MS = 20


@dataclass(frozen=True)
class Part:
    """One module of ours.

    Attributes
    ----------
    role : what it is to us
    module : its module's name on both servers
    arguments : its argument text
    kind : what device it makes, None for the loopback
    name : that device's name
    """

    role: Role
    module: str
    arguments: str
    kind: Literal["sink", "source"] | None = None
    name: str = ""

    def matches(self, arguments: Mapping[str, str]) -> bool:
        """Whether parsed arguments say the same as ours."""
        return dict(arguments) == parse(self.arguments)


SPEAKER_PART = Part(
    "speaker",
    "module-null-sink",
    # Without norewinds PulseAudio's null sink may run 2 s ahead of the loudspeaker.
    f"sink_name={SPEAKER} norewinds=1 rate=48000 channels=2 channel_map=front-left,front-right "
    "sink_properties="
    + properties({"device.description": "DTLN Speaker", "device.icon_name": "audio-speakers"}),
    "sink",
    SPEAKER,
)

OUTPUT_PART = Part(
    "output",
    "module-null-sink",
    f"sink_name={OUTPUT} norewinds=1 rate=16000 channels=1 channel_map=mono "
    "sink_properties=" + properties({"device.description": "DTLN Output (internal)"}),
    "sink",
    OUTPUT,
)

MICROPHONE_PART = Part(
    "microphone",
    "module-remap-source",
    f"source_name={MICROPHONE} master={OUTPUT_MONITOR} channels=1 channel_map=mono "
    # A class other than monitor is what makes browsers list it.
    "master_channel_map=mono remix=no source_properties="
    + properties(
        {
            "device.description": "DTLN Microphone",
            "device.class": "sound",
            "device.icon_name": "audio-input-microphone",
        }
    ),
    "source",
    MICROPHONE,
)


def loopback_part(output: str) -> Part:
    """Return the module that plays DTLN Speaker on a real sink.

    Always with a sink and both don't-move flags: without them it feeds itself once DTLN Speaker is
    the default.
    """
    # An entry of its own: PulseAudio restores volumes by media role, and every loopback has the
    # same, so that the volume of some other one would become ours.
    label = properties(
        {
            "media.name": "DTLN Speaker playback",
            "module-stream-restore.id": "pipedtln-speaker-playback",
            # WirePlumber 0.5 takes the don't-move flags for leave to use another device instead.
            "node.dont-fallback": "true",
        }
    )
    return Part(
        "loopback",
        "module-loopback",
        f"source={SPEAKER_MONITOR} sink={output} latency_msec={LOOPBACK_LATENCY_MS} "
        "source_dont_move=true sink_dont_move=true "
        f"sink_input_properties={label} source_output_properties={label}",
    )


def role_of(module: str, argument: str | None) -> Role | None:
    """What a module is to us, by its exact name, arguments and owner property; None: not ours."""
    arguments = parse(argument)
    if not is_owned(arguments):
        return None
    if module == "module-loopback":
        return "loopback" if arguments.get("source") == SPEAKER_MONITOR else None
    for part in (SPEAKER_PART, OUTPUT_PART, MICROPHONE_PART):
        made = arguments.get("sink_name" if part.kind == "sink" else "source_name")
        if module == part.module and made == part.name:
            return part.role
    return None
