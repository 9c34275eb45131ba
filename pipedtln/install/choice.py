"""Whether the user ever chose a default device on PipeWire, or leaves that to the policy daemon.

PulseAudio's protocol tells the default in effect only. Setting it back by name would turn an
automatic choice into a lasting one, which newly plugged devices no longer change.
"""

from __future__ import annotations

import shutil
import subprocess

_KEYS = {"source": "default.configured.audio.source", "sink": "default.configured.audio.sink"}


def is_automatic(kind: str) -> bool:
    """Whether the default of a kind (``"source"`` or ``"sink"``) was never chosen.

    False where that cannot be told: no PipeWire, or no ``pw-metadata``.
    """
    said = _metadata("0", _KEYS[kind])
    return said is not None and "Found" in said and "key:" not in said


def is_chosen(kind: str, name: str) -> bool:
    """Whether this device was chosen, be it in effect or not."""
    return f'"{name}"' in (_metadata("0", _KEYS[kind]) or "")


def make_automatic(kind: str) -> bool:
    """Forget the choice; returns whether that could be done."""
    return _metadata("-d", "0", _KEYS[kind]) is not None and is_automatic(kind)


def _metadata(*arguments: str) -> str | None:
    """What ``pw-metadata`` says, None if it cannot be asked."""
    if shutil.which("pw-metadata") is None:
        return None
    try:
        done = subprocess.run(
            ["pw-metadata", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None
