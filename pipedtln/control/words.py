"""The states of the bridge in words that a user understands."""

from __future__ import annotations

_STATES = {
    "starting": "starting",
    "waiting": "waiting for a sound server or a microphone",
    "idle": "ready (nobody records)",
    "running": "cleaning",
    "bypassed": "bypassed: the microphone goes through unprocessed",
    "open": "OPEN: the microphone goes through unprocessed, see problems",
    "muted": "muted: apps hear silence",
}


def state(name: str) -> str:
    """A state of :class:`pipedtln.control.api.Status` in words; an unknown one as it is."""
    return _STATES.get(name, name)
