"""Talks to the running bridge over the session bus, for the command line and the monitor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from dbus_fast import DBusError, Message, MessageType
from dbus_fast.aio import MessageBus

from pipedtln.config import Value
from pipedtln.control import bus as session
from pipedtln.control import wire
from pipedtln.control.api import Status
from pipedtln.errors import ServiceError

T = TypeVar("T")

SET_TIMEOUT_S = 30.0
"""A new network is loaded before its method returns."""


class BridgeClient:
    """The running bridge, seen from another process; belongs to one event loop.

    Never starts the service. Its calls raise the exceptions that the bridge raised, and
    ServiceError when the service does not run or does not answer.

    Parameters
    ----------
    address : of the bus; by default that of the session
    timeout_s : how long an answer may take
    """

    def __init__(self, address: str | None = None, *, timeout_s: float = 5.0) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._bus: MessageBus | None = None
        self._listeners: dict[str, Callable[..., None]] = {}
        self._presence: Callable[[bool], None] | None = None
        self._watching = False
        self._end: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Whether the bus is there; says nothing of the service."""
        return self._bus is not None and self._bus.connected

    async def connect(self) -> None:
        """Join the bus; the service need not run yet.

        Raises
        ------
        ServiceError
            If there is no session bus.
        """
        self._bus = await session.connect(self._address)
        self._bus.add_message_handler(self._receive)
        # Somebody has to take note of how the connection ends, or asyncio complains.
        self._end = asyncio.get_running_loop().create_task(session.ended(self._bus))

    async def close(self) -> None:
        """Leave the bus, and with it every subscription."""
        for task in self._tasks:
            task.cancel()
        bus, self._bus = self._bus, None
        if bus is not None and bus.connected and self._end is not None:
            bus.disconnect()
            await asyncio.wait([self._end], timeout=1.0)
        if self._end is not None:
            self._end.cancel()

    async def __aenter__(self) -> BridgeClient:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def status(self) -> Status:
        """A snapshot of the bridge."""
        (text,) = await self._call("GetStatus")
        return wire.status_from_json(text)

    async def settings(self) -> dict[str, Value]:
        """The settings in force, with those that were changed but not kept."""
        (settings,) = await self._call("GetSettings")
        return {key: variant.value for key, variant in settings.items()}

    async def set(self, key: str, value: Value, *, keep: bool = True) -> None:
        """Change a setting now; ``keep`` writes it to the config file.

        Raises
        ------
        ConfigError
            If the key or the value is not valid; nothing has changed.
        """
        body = [key, wire.to_variant(value), keep]
        await self._call("Set", "svb", body, timeout_s=SET_TIMEOUT_S)

    async def reload(self) -> None:
        """Have the service read its config file again."""
        await self._call("Reload", timeout_s=SET_TIMEOUT_S)

    async def record(self, seconds: float, folder: Path) -> list[Path]:
        """Have the service write raw, reference and clean sound into a folder."""
        body = [float(seconds), str(folder.absolute())]  # the service works elsewhere
        (files,) = await self._call("Record", "ds", body, timeout_s=seconds + SET_TIMEOUT_S)
        return [Path(name) for name in files]

    async def on_levels(self, listener: Callable[[float, float, float], None]) -> None:
        """Call back ten times a second with the levels of mic, reference and output in dBFS.

        The subscription outlives a restart of the service.
        """
        await self._subscribe(wire.LEVELS, listener)

    async def on_spectra(self, listener: Callable[[bytes, bytes], None]) -> None:
        """Call back ten times a second with the spectra of mic and output (see Spectral)."""
        await self._subscribe(wire.SPECTRA, listener)

    async def on_presence(self, listener: Callable[[bool], None]) -> None:
        """Call back with True when the service comes, with False when it goes."""
        await self._watch_name()
        self._presence = listener

    async def _subscribe(self, signal: str, listener: Callable[..., None]) -> None:
        self._listeners[signal] = listener
        await self._watch_name()
        await self._call("Subscribe", "s", [signal])

    async def _watch_name(self) -> None:
        """Hear of the service's coming and going."""
        if self._bus is not None and not self._watching:
            self._watching = True
            rule = (
                f"type='signal',sender='{wire.BUS}',interface='{wire.BUS}',"
                f"member='NameOwnerChanged',arg0='{wire.NAME}'"
            )
            await session.call(self._bus, "AddMatch", "s", [rule], timeout_s=self._timeout_s)

    async def _call(
        self,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> list[Any]:
        if self._bus is None:
            raise ServiceError("not connected to the session bus; call connect() first")
        try:
            return await session.call(
                self._bus,
                member,
                signature,
                body,
                destination=wire.NAME,
                path=wire.PATH,
                interface=wire.INTERFACE,
                timeout_s=timeout_s or self._timeout_s,
            )
        except DBusError as error:
            raise wire.error_from(error.type, error.text) from error
        except asyncio.TimeoutError as error:
            raise ServiceError(wire.NO_ANSWER) from error
        except ConnectionError as error:
            raise ServiceError("the D-Bus session bus went away; try again") from error

    def _receive(self, message: Message) -> bool:
        if message.message_type is not MessageType.SIGNAL:
            return False
        if message.member == "NameOwnerChanged" and message.sender == wire.BUS:
            name, _, owner = message.body
            if name == wire.NAME:
                self._service_changed(bool(owner))
        elif message.path == wire.PATH and message.interface == wire.INTERFACE:
            listener = self._listeners.get(message.member or "")
            if listener is not None:
                listener(*message.body)
        return False

    def _service_changed(self, runs: bool) -> None:
        if runs and self._listeners:
            task = asyncio.get_running_loop().create_task(self._subscribe_again())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._presence is not None:
            self._presence(runs)

    async def _subscribe_again(self) -> None:
        for signal in tuple(self._listeners):
            # One that went again, or lacks the signal, is no fault; the next one is asked again.
            with suppress(ServiceError):
                await self._call("Subscribe", "s", [signal])


def ask(
    question: Callable[[BridgeClient], Awaitable[T]],
    *,
    address: str | None = None,
    timeout_s: float = 5.0,
) -> T:
    """Ask the running bridge from code without an event loop.

    ``ask(BridgeClient.status)`` is the whole of it.

    Raises
    ------
    PipedtlnError
        What the bridge raised; ServiceError if it does not run or there is no bus.
    """

    async def run() -> T:
        async with BridgeClient(address, timeout_s=timeout_s) as client:
            return await question(client)

    return asyncio.run(run())
