"""What the bridge knows of the server: its devices, who records, and what to join to what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pulsectl

from pipedtln.audio.server import ServerInfo, connect, server_info
from pipedtln.config import Config
from pipedtln.devices.recorders import Recorder, list_recorders
from pipedtln.devices.selection import choose_microphone, choose_output, choose_reference
from pipedtln.devices.virtual import VirtualDevices
from pipedtln.devices.watch import ServerEvent, ServerWatcher
from pipedtln.errors import PipedtlnError, ServerError
from pipedtln.service.channels import Picked, pick_channels, wants_channels
from pipedtln.service.memory import DeviceMemory


@dataclass(frozen=True)
class Survey:
    """What was found; ``problems`` are lines for ``status``."""

    server: ServerInfo
    mic: str | None
    reference: str | None
    output: str | None
    problems: tuple[str, ...]
    mic_channel: int | None = None
    ref_channel: int | None = None
    channels: tuple[str, ...] = ()
    """Positions of the microphone's channels; empty unless one of them is picked."""


class DeviceDesk:
    """One control connection and one watcher; all calls from one thread.

    Parameters
    ----------
    on_event, on_lost : called in the watcher's thread
    server : address; None for the user's own
    """

    def __init__(
        self,
        memory: DeviceMemory,
        on_event: Callable[[ServerEvent], None],
        on_lost: Callable[[], None],
        server: str | None = None,
    ) -> None:
        self._memory = memory
        self._server = server
        self._on_event = on_event
        self._on_lost = on_lost
        self._pulse: pulsectl.Pulse | None = None
        self._watcher: ServerWatcher | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection; it may be broken without our knowing yet."""
        return self._pulse is not None

    @property
    def alive(self) -> bool:
        """Whether the server has not left the connection since."""
        return self._watcher is not None and self._watcher.alive

    def connect(self) -> None:
        """Reach the server.

        Raises
        ------
        ServerError
            If none answers.
        """
        pulse = connect(self._server)
        watcher = ServerWatcher(self._on_event, self._on_lost, self._server)
        try:
            watcher.start()
        except BaseException:
            pulse.close()
            raise
        self._pulse, self._watcher = pulse, watcher

    def disconnect(self) -> None:
        """Leave the server; safe to call when it is gone."""
        watcher, self._watcher = self._watcher, None
        pulse, self._pulse = self._pulse, None
        if watcher is not None:
            watcher.stop()
        if pulse is not None:
            pulse.close()

    def renew(self) -> ServerInfo:
        """Ask for the defaults over a new connection, which replaces the old one (PipeWire alone).

        Raises
        ------
        ServerError
            If the server is gone.
        """
        old = self._connection()
        info = server_info(old)
        if info.kind == "pipewire":
            self._pulse = connect(self._server)
            old.close()
            info = server_info(self._pulse)
        return info

    def survey(self, config: Config) -> Survey:
        """Make the virtual devices whole and choose the real ones.

        Raises
        ------
        ServerError
            If the server is gone.
        DeviceError
            If the virtual devices cannot be made.
        """
        pulse = self._connection()
        problems: list[str] = []
        last = self._memory.last

        def chosen(choose: Callable[[], str | None]) -> str | None:
            try:
                return choose()
            except ServerError:
                raise
            except PipedtlnError as error:
                problems.append(str(error))
                return None

        output = chosen(lambda: choose_output(pulse, config.output, last.output))
        devices = VirtualDevices(pulse)
        if devices.verify(output):
            devices.ensure(output)
        mic = chosen(lambda: choose_microphone(pulse, config.mic, last.mic))
        reference = chosen(lambda: choose_reference(pulse, config.reference))
        picked = Picked()
        if mic is not None and wants_channels(config):
            picked, problem = pick_channels(pulse, mic, config)
            problems += [problem] if problem else []
        server = server_info(pulse)
        # What only stands in for a device that is away is not what the user chose.
        self._memory.remember(
            mic if mic in (server.default_source, config.mic) or last.mic is None else None,
            output if output in (server.default_sink, config.output) or not last.output else None,
        )
        return Survey(
            server,
            mic,
            reference,
            output,
            tuple(problems),
            mic_channel=picked.mic,
            ref_channel=picked.ref,
            channels=picked.channels,
        )

    def recorders(self) -> list[Recorder]:
        """Apps that record DTLN Microphone.

        Raises
        ------
        ServerError
            If the server is gone.
        """
        return list_recorders(self._connection())

    def remove_devices(self) -> None:
        """Take our virtual devices away.

        Raises
        ------
        ServerError, DeviceError
            If that fails.
        """
        VirtualDevices(self._connection()).remove()

    def _connection(self) -> pulsectl.Pulse:
        if self._pulse is None:
            raise PipedtlnError("not connected to an audio server")
        return self._pulse
