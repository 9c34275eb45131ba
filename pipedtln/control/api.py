"""What the running bridge tells and how it is steered, whatever carries the words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pipedtln.config import Value

BANDS = 32
"""Bands of a spectrum, equally wide on the mel scale from 0 to 8 kHz."""


@dataclass(frozen=True)
class Status:
    """A snapshot of the bridge.

    ``state``: ``"starting"``, ``"waiting"`` (for a server or a microphone), ``"idle"`` (nobody
    records), ``"running"``, ``"bypassed"`` (by the user), ``"open"`` (fell open: the microphone
    goes through unprocessed, ``problems`` says why) or ``"muted"``.

    ``load``: share of a hop that inference takes, ``"mean"`` and ``"p99"``; empty while no network
    runs.
    """

    state: str
    version: str
    pid: int
    uptime_s: float
    server: str | None = None
    mic: str | None = None
    reference: str | None = None
    output: str | None = None
    model: str | None = None
    strength: int = 100
    bypass: bool = False
    muted: bool = False
    recorders: list[str] = field(default_factory=list)
    latency_ms: float | None = None
    latency_parts_ms: dict[str, float] = field(default_factory=dict)
    echo_delay_ms: float | None = None
    echo_suppression_db: float | None = None
    load: dict[str, float] = field(default_factory=dict)
    hops: int = 0
    dropped_hops: int = 0
    bypassed_hops: int = 0
    xruns: int = 0
    wakeups_per_s: float | None = None
    drift_ppm: float | None = None
    corrected_ms: float = 0.0
    """Sound taken out since the start by playing 0.4 % faster, less what was put in."""
    problems: list[str] = field(default_factory=list)


class Steerable(Protocol):
    """The bridge as the D-Bus interface sees it. All methods are called on the main loop."""

    def status(self) -> Status: ...

    def levels(self) -> tuple[float, float, float]:
        """RMS of mic, reference and output over the last 100 ms, in dBFS."""

    def settings(self) -> Mapping[str, Value]:
        """The settings in force by key of Config, with those that were changed but not kept."""

    async def set(self, key: str, value: object, *, keep: bool) -> None:
        """Change one key of :class:`pipedtln.config.Config` now; ``keep`` writes config.toml.

        Raises
        ------
        ConfigError
            If the key or value is not valid; nothing has changed.
        """

    async def reload(self) -> None:
        """Read the config file again."""


@runtime_checkable
class Spectral(Protocol):
    """A bridge that also tells spectra; what lacks this offers no ``Spectra`` signal."""

    def spectra(self) -> tuple[bytes, bytes]:
        """Power of mic and output over the last 100 ms.

        Returns
        -------
        ``BANDS`` bytes each, in half decibels above -120 dBFS: 0 is -120 or less, 240 full scale.
        """


@runtime_checkable
class Recording(Protocol):
    """A bridge that also records; what lacks this refuses the ``Record`` method."""

    async def record(self, seconds: float, path: str) -> list[str]:
        """Write raw, reference and clean sound of one moment, sample-aligned.

        Parameters
        ----------
        seconds : how much; more than 0
        path : a folder, made if need be

        Returns
        -------
        The files written.

        Raises
        ------
        InputError
            If the folder cannot be written.
        DeviceError
            If there is no microphone to record.
        """
