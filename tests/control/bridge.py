"""A hand-written bridge for the other side of the interface: it remembers, it makes no sound."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, replace

from pipedtln.config import Config, Value
from pipedtln.control.api import BANDS, Status
from pipedtln.errors import ConfigError, DeviceNotFoundError


class QuietBridge:
    """A Steerable without sound."""

    def __init__(self) -> None:
        self.config = Config()
        self.now = Status(
            state="idle",
            version="9.8.7",
            pid=4711,
            uptime_s=12.5,
            server="PulseAudio 16.1",
            mic="fake_mic",
            reference="fake_speaker.monitor",
            output="fake_speaker",
            model="quiet-256",
            recorders=["Zoom"],
            latency_ms=44.25,
            latency_parts_ms={"network": 32.0, "output": 12.25},
            echo_delay_ms=63.0,
            load={"mean": 0.0512, "p99": 0.11},
        )
        self.kept: dict[str, Value] = {}
        self.asked_for_levels = 0
        self.reloads = 0

    def status(self) -> Status:
        config = self.config
        return replace(self.now, strength=config.strength, bypass=config.bypass, muted=config.muted)

    def levels(self) -> tuple[float, float, float]:
        self.asked_for_levels += 1
        return (-20.0, -float("inf"), -30.5)

    def settings(self) -> Mapping[str, Value]:
        return asdict(self.config)

    async def set(self, key: str, value: object, *, keep: bool) -> None:
        await asyncio.sleep(0)
        if key == "mic" and value == "nowhere":
            raise DeviceNotFoundError(
                "no source named 'nowhere'. List sources with: pipedtln devices"
            )
        if key == "model" and value == "bug":
            raise RuntimeError("secret detail")
        if key == "threads":
            raise ConfigError("threads changes\nwith a restart")
        self.config = replace(self.config, **{key: value})  # type: ignore[arg-type]
        if keep:
            self.kept[key] = value  # type: ignore[assignment]

    async def reload(self) -> None:
        self.reloads += 1


class RichBridge(QuietBridge):
    """One that also tells spectra and records."""

    def spectra(self) -> tuple[bytes, bytes]:
        return bytes(range(BANDS)), bytes(reversed(range(BANDS)))

    async def record(self, seconds: float, path: str) -> list[str]:
        return [f"{path}/mic-{seconds:g}.wav"]
