"""A small notification daemon on a test's bus: it remembers what it is asked to show."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

NAME = "org.freedesktop.Notifications"


@dataclass
class Shown:
    """A notification that stands."""

    title: str
    body: str
    hints: dict[str, Any]


class NotificationDaemon:
    """Answers Notify and CloseNotification as a desktop does, by the specification."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._bus: MessageBus
        self.standing: dict[int, Shown] = {}
        self.asked = 0
        """How often something was to be shown."""

    async def __aenter__(self) -> NotificationDaemon:
        self._bus = await MessageBus(bus_address=self._address).connect()
        self._bus.add_message_handler(self._receive)
        await self._bus.request_name(NAME)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bus.disconnect()

    def _receive(self, message: Message) -> Message | None:
        if message.message_type is not MessageType.METHOD_CALL or message.interface != NAME:
            return None
        if message.member == "Notify" and message.signature == "susssasa{sv}i":
            _, replaces, _, title, body, _, hints, _ = message.body
            self.asked += 1
            number = replaces or self.asked
            values = {key: variant.value for key, variant in hints.items()}
            self.standing[number] = Shown(title, body, values)
            return Message.new_method_return(message, "u", [number])
        if message.member == "CloseNotification":
            self.standing.pop(message.body[0], None)
            return Message.new_method_return(message)
        return None
