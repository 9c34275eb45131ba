"""The names by which the virtual devices and their owner are known on a server."""

from __future__ import annotations

MICROPHONE = "pipedtln_microphone"
"""Source that apps record: DTLN Microphone."""
SPEAKER = "pipedtln_speaker"
"""Sink that apps play to: DTLN Speaker."""
OUTPUT = "pipedtln_out"
"""Sink that the bridge writes to; its monitor feeds DTLN Microphone."""
SPEAKER_MONITOR = "pipedtln_speaker.monitor"
OUTPUT_MONITOR = "pipedtln_out.monitor"

RESERVED = frozenset({MICROPHONE, SPEAKER, OUTPUT, SPEAKER_MONITOR, OUTPUT_MONITOR})
"""Names that are never a microphone or an output, whoever made the device."""

OWNER_PROPERTY = "pipedtln.owner"
"""Property that every module, node and stream of ours bears; its value is :data:`OWNER`."""
OWNER = "pipedtln"

NO_OUTPUT = "auto_null"
"""Sink that both servers make up while there is no other; plays to nowhere."""
