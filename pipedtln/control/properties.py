"""The properties of the bridge on D-Bus: types, sources, and when a change is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dbus_fast import Variant

from pipedtln.control.api import Status
from pipedtln.control.wire import clean_text


@dataclass(frozen=True)
class Property:
    """One read-only property.

    ``tells``: ``"soon"`` (a change is signalled at once), ``"slowly"`` (at most once a second) or
    ``"never"`` (it changes all the time; ask for it).
    """

    name: str
    signature: str
    value: Callable[[Status], Any]
    tells: str = "soon"

    def read(self, status: Status) -> Variant:
        """The value as D-Bus carries it."""
        return Variant(self.signature, self.value(status))


def _text(name: str) -> Callable[[Status], str]:
    return lambda status: clean_text(getattr(status, name) or "")


def _texts(name: str) -> Callable[[Status], list[str]]:
    return lambda status: [clean_text(text) for text in getattr(status, name)]


def _plain(name: str) -> Callable[[Status], Any]:
    return lambda status: getattr(status, name)


def _number(name: str, digits: int) -> Callable[[Status], float]:
    """Rounded, so that the last digits' trembling is no change; NaN when unknown."""

    def value(status: Status) -> float:
        number = getattr(status, name)
        return math.nan if number is None else round(float(number), digits)

    return value


def _numbers(name: str, digits: int) -> Callable[[Status], dict[str, float]]:
    def value(status: Status) -> dict[str, float]:
        numbers = getattr(status, name).items()
        return {clean_text(part): round(float(number), digits) for part, number in numbers}

    return value


ALL = (
    Property("State", "s", _text("state")),
    Property("Version", "s", _text("version")),
    Property("Pid", "u", _plain("pid")),
    Property("UptimeSeconds", "d", _number("uptime_s", 3), "never"),
    Property("Server", "s", _text("server")),
    Property("Microphone", "s", _text("mic")),
    Property("Reference", "s", _text("reference")),
    Property("Output", "s", _text("output")),
    Property("Model", "s", _text("model")),
    Property("Strength", "u", _plain("strength")),
    Property("Bypass", "b", _plain("bypass")),
    Property("Muted", "b", _plain("muted")),
    Property("Recorders", "as", _texts("recorders")),
    Property("Problems", "as", _texts("problems")),
    Property("LatencyMs", "d", _number("latency_ms", 1), "slowly"),
    Property("LatencyPartsMs", "a{sd}", _numbers("latency_parts_ms", 1), "slowly"),
    Property("EchoDelayMs", "d", _number("echo_delay_ms", 0), "slowly"),
    Property("EchoSuppressionDb", "d", _number("echo_suppression_db", 1), "slowly"),
    Property("Load", "a{sd}", _numbers("load", 3), "slowly"),
    Property("Hops", "t", _plain("hops"), "never"),
    Property("DroppedHops", "t", _plain("dropped_hops"), "slowly"),
    Property("BypassedHops", "t", _plain("bypassed_hops"), "slowly"),
    Property("Xruns", "t", _plain("xruns"), "slowly"),
    Property("WakeupsPerSecond", "d", _number("wakeups_per_s", 0), "slowly"),
    Property("DriftPpm", "d", _number("drift_ppm", 0), "slowly"),
    Property("CorrectedMs", "d", _number("corrected_ms", 2), "slowly"),
)
"""Every property, in the order of the introspection."""

BY_NAME = {entry.name: entry for entry in ALL}


def read_all(status: Status) -> dict[str, Variant]:
    """Every property by name."""
    return {entry.name: entry.read(status) for entry in ALL}


class Changes:
    """Finds out which properties changed since they were last told."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def since(self, status: Status, *, slowly: bool) -> dict[str, Variant]:
        """The properties to tell now.

        Parameters
        ----------
        slowly : whether those that are told at most once a second have their turn
        """
        changed: dict[str, Variant] = {}
        for entry in ALL:
            if entry.tells == "never" or (entry.tells == "slowly" and not slowly):
                continue
            variant = entry.read(status)
            shown = repr(variant.value)  # as text, since NaN never equals NaN
            if self._told.get(entry.name) != shown:
                self._told[entry.name] = shown
                changed[entry.name] = variant
        return changed
