"""Tells which apps record DTLN Microphone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulsectl

from pipedtln.audio.server import server_errors
from pipedtln.devices.names import MICROPHONE, OWNER, OWNER_PROPERTY

UNLINKED = 0xFFFFFFFF
"""Source of a stream that PipeWire's session manager has not linked yet (PA_INVALID_INDEX)."""


@dataclass(frozen=True)
class Recorder:
    """An app's recording stream.

    Attributes
    ----------
    index : of the source output
    name : the app's name, else the stream's
    pid : its process, where told
    is_meter : whether it only reads peaks, as level meters of mixers do
    is_paused : whether the app has corked it
    """

    index: int
    name: str
    pid: int | None
    is_meter: bool
    is_paused: bool

    @property
    def listens(self) -> bool:
        """Whether it wants sound now: a meter does not, nor does a paused stream."""
        return not (self.is_meter or self.is_paused)


def list_recorders(pulse: pulsectl.Pulse, source: str = MICROPHONE) -> list[Recorder]:
    """Recording streams on a source, those of the bridge itself excepted.

    On PipeWire one that names the source counts before it is linked: to see it then rather than
    afterwards is some 10 ms of what the app waits for its first sound.

    Raises
    ------
    ServerError
        If the server is gone.
    """
    with server_errors("list the recorders"):
        raws = [
            raw for raw in pulse.source_output_list() if raw.proplist.get(OWNER_PROPERTY) != OWNER
        ]
        index = _index(pulse, source) if raws else None
    return [
        Recorder(
            index=int(raw.index),
            name=str(raw.proplist.get("application.name") or raw.name or f"stream {raw.index}"),
            pid=_number(raw.proplist.get("application.process.id")),
            is_meter=_is_meter(str(raw.resample_method), raw.proplist),
            is_paused=_is_paused(raw),
        )
        for raw in raws
        if raw.source == index or _is_coming(raw, source)
    ]


def _index(pulse: pulsectl.Pulse, source: str) -> int | None:
    try:
        return int(pulse.get_source_by_name(source).index)
    except pulsectl.PulseIndexError:
        return None


def _is_coming(raw: Any, source: str) -> bool:
    return bool(raw.source == UNLINKED and raw.proplist.get("target.object") == source)


def _is_paused(raw: Any) -> bool:
    # pipewire-pulse calls corked what does not run, as no stream does before it is linked; what the
    # app wishes later versions than 0.3.65 tell in a property.
    if raw.source == UNLINKED:
        return bool(raw.proplist.get("pulse.corked") == "true")
    return bool(raw.corked)


def _is_meter(resample_method: str, properties: Mapping[str, str]) -> bool:
    # PA_STREAM_PEAK_DETECT shows as PulseAudio's resampler "peaks", and on pipewire-pulse as the
    # property resample.peaks.
    return resample_method == "peaks" or properties.get("resample.peaks") == "true"


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
