"""Simulated sound hardware on a private server: loudspeakers, microphones and rooms.

fake_speaker ── monitor ──▶ room (module-loopback) ──▶ fake_mic_hw ── monitor ──▶ fake_mic
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import pulsectl

from pipedtln.demo.processes import wait_until
from pipedtln.errors import DeviceNotFoundError, ServerError

_QUANTUM = 'node.latency="1024/48000"'
"""A room asks nothing of PipeWire's graph, not even cycles of a third of its delay."""


class Room:
    """An echo path from a loudspeaker to the microphone, made by :meth:`Hardware.add_room`."""

    def __init__(
        self, hardware: Hardware, number: int, delay_ms: int, coupling: float, speaker: str
    ) -> None:
        self.delay_ms = delay_ms
        """Asked delay; the server adds about one of its periods."""
        self.coupling = coupling
        self.speaker = speaker
        self._hardware = hardware
        self._label = f"room {number}"
        self._module: int | None = None

    def open(self) -> None:
        """Load the loopback; a room that is open already is left alone."""
        if self._module is not None:
            return
        with self._hardware.connect() as pulse:
            self._module = pulse.module_load(
                "module-loopback",
                f"source={self.speaker}.monitor sink={Hardware.MICROPHONE_INPUT} "
                f"latency_msec={self.delay_ms} source_dont_move=true sink_dont_move=true "
                # its own entry: PulseAudio gives all loopbacks the volume of the last that was set
                f'sink_input_properties=\'media.name="{self._label}" '
                f'module-stream-restore.id="{self._label}" {_QUANTUM}\' '
                f"source_output_properties='media.name=\"{self._label}\" {_QUANTUM}'",
            )
        self.set_coupling(self.coupling)

    def set_coupling(self, coupling: float) -> None:
        """Set the amplitude (0 to 1, linear) with which the loudspeaker reaches the microphone."""
        self.coupling = coupling
        with self._hardware.connect() as pulse:
            found: list[pulsectl.PulseSinkInputInfo] = []

            def appeared() -> bool:
                found[:] = [
                    stream
                    for stream in pulse.sink_input_list()
                    if stream.proplist.get("media.name") == self._label
                ]
                return bool(found)

            if not wait_until(appeared, timeout=3.0):
                raise ServerError(f"the private server did not make {self._label}")
            # libpulse volumes are cubic: 0.5 is an amplitude of 0.125.
            pulse.volume_set_all_chans(found[0], coupling ** (1 / 3))

    def remove(self) -> None:
        """Take the echo path away."""
        module, self._module = self._module, None
        self._hardware.forget_room(self)
        if module is not None:
            with self._hardware.connect() as pulse, contextlib.suppress(pulsectl.PulseError):
                pulse.module_unload(module)

    def lost(self) -> None:
        """Note that the server took the module with it."""
        self._module = None


class Hardware(ABC):
    """The devices of a private server; they come back after its restart, as real ones do."""

    SPEAKER: ClassVar[str] = "fake_speaker"
    MICROPHONE: ClassVar[str] = "fake_mic"
    MICROPHONE_INPUT: ClassVar[str] = "fake_mic_hw"
    """Sink whose sound is what the microphone hears."""

    def __init__(self) -> None:
        self._rooms: list[Room] = []
        self._rooms_made = 0
        self._speakers: dict[str, int] = {self.SPEAKER: 48_000}
        self._microphones: dict[str, str] = {self.MICROPHONE: self.MICROPHONE_INPUT}
        self._loaded: dict[str, int] = {}

    @abstractmethod
    def connect(self) -> pulsectl.Pulse:
        """Open a control connection to the private server; a context manager."""

    def plug_speaker(self, name: str = SPEAKER, *, rate: int = 48_000) -> None:
        """Make a stereo loudspeaker appear (a sink of this name)."""
        self._speakers[name] = rate
        self._load_sink(name, f"Loudspeaker {name}", rate, 2)

    def unplug_speaker(self, name: str = SPEAKER) -> None:
        """Make a loudspeaker disappear."""
        self._speakers.pop(name, None)
        self._unload(name)

    def plug_microphone(self, name: str = MICROPHONE) -> None:
        """Make a microphone appear (a source of this name that hears the sink ``<name>_hw``)."""
        sink = self._microphones.setdefault(name, f"{name}_hw")
        self._load_sink(sink, f"Air before {name}", 48_000, 1)
        if name in self._loaded:
            return
        with self.connect() as pulse:
            self._loaded[name] = pulse.module_load(
                "module-remap-source",
                f"source_name={name} master={sink}.monitor channels=1 channel_map=mono "
                "master_channel_map=mono remix=no "
                f'source_properties=\'device.description="Microphone {name}" '
                "device.class=sound'",
            )
            self._expect(lambda: name in {source.name for source in pulse.source_list()}, name)

    def unplug_microphone(self, name: str = MICROPHONE) -> None:
        """Make a microphone disappear; the air before it stays, so that rooms and players do."""
        if name not in self._microphones:
            raise DeviceNotFoundError(f"no simulated microphone named {name!r}")
        self._unload(name)

    def add_room(
        self, delay_ms: int = 60, coupling: float = 0.5, *, speaker: str = SPEAKER
    ) -> Room:
        """Let a loudspeaker echo into the microphone.

        Parameters
        ----------
        delay_ms : from loudspeaker to microphone; 60 is a laptop, 300 a Bluetooth speaker
        coupling : amplitude of the echo, 0 to 1
        speaker : the loudspeaker's name
        """
        self._rooms_made += 1
        room = Room(self, self._rooms_made, delay_ms, coupling, speaker)
        room.open()
        self._rooms.append(room)
        return room

    def forget_room(self, room: Room) -> None:
        """Do not bring a room back after a restart."""
        if room in self._rooms:
            self._rooms.remove(room)

    def _plug_everything(self) -> None:
        self._loaded.clear()
        for name, rate in list(self._speakers.items()):
            self.plug_speaker(name, rate=rate)
        for name in list(self._microphones):
            self.plug_microphone(name)
        self._wait_for_policy()
        self.make_default(sink=self.SPEAKER, source=self.MICROPHONE)
        for room in self._rooms:
            room.lost()
            room.open()

    def make_default(self, *, sink: str | None = None, source: str | None = None) -> None:
        """Make these the default devices, as a user does in a mixer.

        Raises
        ------
        ServerError
            If they are not the default within 5 s.
        """

        def made() -> bool:
            # A connection for each try: one may have missed the change, and never learns of it.
            with self.connect() as pulse:
                try:
                    if sink is not None:
                        pulse.sink_default_set(sink)
                    if source is not None:
                        pulse.source_default_set(source)
                except pulsectl.PulseOperationFailed:
                    return False  # it does not know the device yet
                info = pulse.server_info()
                return sink in (None, info.default_sink_name) and source in (
                    None,
                    info.default_source_name,
                )

        wanted = " and ".join(filter(None, (sink, source)))
        self._expect(made, f"the default devices ({wanted})")

    def _wait_for_policy(self) -> None:
        """Wait until whoever decides about default devices does so; PulseAudio always does."""
        return

    def _load_sink(self, name: str, description: str, rate: int, channels: int) -> None:
        if name in self._loaded:
            return
        layout = "mono" if channels == 1 else "front-left,front-right"
        with self.connect() as pulse:
            self._loaded[name] = pulse.module_load(
                "module-null-sink",
                f"sink_name={name} norewinds=1 rate={rate} channels={channels} "
                f"channel_map={layout} "
                f"sink_properties='device.description=\"{description}\"'",
            )
            self._expect(lambda: name in {sink.name for sink in pulse.sink_list()}, name)

    def _unload(self, name: str) -> None:
        module = self._loaded.pop(name, None)
        if module is None:
            return
        with self.connect() as pulse:
            pulse.module_unload(module)
            self._expect(
                lambda: (
                    name
                    not in {device.name for device in (*pulse.sink_list(), *pulse.source_list())}
                ),
                f"{name} to go",
            )

    @staticmethod
    def _expect(reached: Callable[[], bool], what: str) -> None:
        if not wait_until(reached, timeout=5.0):
            raise ServerError(f"the private server did not bring {what} within 5 s")
