"""A client of a test's own, below ours: it sees every message that the bus brings it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from pipedtln.control.wire import INTERFACE, NAME, PATH


class Listener:
    """Keeps the signals of our interface, and calls its methods without our client."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.bus: MessageBus
        self.signals: list[tuple[float, str, list[Any]]] = []
        """When (monotonic seconds), member, body."""

    async def __aenter__(self) -> Listener:
        self.bus = await MessageBus(bus_address=self._address).connect()
        self.bus.add_message_handler(self._keep)
        await self.bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=[f"type='signal',path='{PATH}'"],
            )
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bus.disconnect()

    def _keep(self, message: Message) -> bool:
        if message.message_type is MessageType.SIGNAL and message.path == PATH:
            self.signals.append((time.monotonic(), message.member or "", message.body))
        return False

    def count(self, member: str) -> int:
        return sum(name == member for _, name, _ in self.signals)

    def changes(self) -> list[tuple[float, dict[str, Any]]]:
        """The PropertiesChanged so far: when, and the new values by name."""
        return [
            (when, {name: variant.value for name, variant in body[1].items()})
            for when, member, body in self.signals
            if member == "PropertiesChanged" and body[0] == INTERFACE
        ]

    async def call(
        self,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
        interface: str = INTERFACE,
    ) -> Message:
        reply = await self.bus.call(
            Message(
                destination=NAME,
                path=PATH,
                interface=interface,
                member=member,
                signature=signature,
                body=body or [],
            )
        )
        assert reply is not None
        return reply


async def until(fact: Callable[[], bool], what: str, within_s: float = 10.0) -> float:
    """Let the loop run until a fact comes true; returns the seconds it took."""
    start = time.monotonic()
    while not fact():
        assert time.monotonic() < start + within_s, f"no {what} within {within_s} s"
        await asyncio.sleep(0.01)
    return time.monotonic() - start
