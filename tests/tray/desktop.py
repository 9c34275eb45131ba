"""A desktop's tray on a test's bus: it keeps who registers, and clicks like a user."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

WATCHER = "org.kde.StatusNotifierWatcher"
ITEM = ("/StatusNotifierItem", "org.kde.StatusNotifierItem")
MENU = ("/MenuBar", "com.canonical.dbusmenu")
PROPERTIES = "org.freedesktop.DBus.Properties"


class Desktop:
    """The watcher and the host in one."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.bus: MessageBus
        self.items: list[str] = []
        self.signals: list[str] = []

    async def __aenter__(self) -> Desktop:
        self.bus = await MessageBus(bus_address=self._address).connect()
        self.bus.add_message_handler(self._receive)
        for path, _ in (ITEM, MENU):
            rule = f"type='signal',path='{path}'"
            await self.call(
                "org.freedesktop.DBus", ("/org/freedesktop/DBus", "org.freedesktop.DBus"),
                "AddMatch", "s", [rule],
            )  # fmt: skip
        await self.bus.request_name(WATCHER)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bus.disconnect()

    def _receive(self, message: Message) -> Message | None:
        if message.message_type is MessageType.SIGNAL:
            self.signals.append(message.member or "")
        elif message.interface == WATCHER and message.member == "RegisterStatusNotifierItem":
            self.items.append(message.body[0])
            return Message.new_method_return(message)
        return None

    async def call(
        self,
        destination: str,
        place: tuple[str, str],
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
    ) -> list[Any]:
        """Call a method; an error fails the test."""
        reply = await self.bus.call(
            Message(
                destination=destination, path=place[0], interface=place[1], member=member,
                signature=signature, body=body or [],
            )
        )  # fmt: skip
        assert reply is not None
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        return list(reply.body)

    async def ask(self, member: str, signature: str = "", *body: Any) -> list[Any]:
        """Call the newest item's menu."""
        return await self.call(self.items[-1], MENU, member, signature, list(body))

    async def see(self) -> dict[str, Any]:
        """The newest item's properties."""
        place = (ITEM[0], PROPERTIES)
        (found,) = await self.call(self.items[-1], place, "GetAll", "s", [ITEM[1]])
        return {name: variant.value for name, variant in found.items()}

    async def lines(self) -> dict[str, dict[str, Any]]:
        """The menu by label, submenus as ``"Microphone/Built-in"``; each with its ``id``."""
        _, layout = await self.ask("GetLayout", "iias", 0, -1, [])
        found: dict[str, dict[str, Any]] = {}

        def walk(node: list[Any], above: str) -> None:
            for variant in node[2]:
                number, properties, _ = variant.value
                values = {name: value.value for name, value in properties.items()}
                label = above + values.get("label", "").replace("__", "_")
                if "label" in values:
                    found[label] = {**values, "id": number}
                walk(variant.value, label.split(":")[0] + "/")

        walk(layout, "")
        return found

    async def click(self, label: str) -> None:
        """Click on a line of the menu."""
        number = (await self.lines())[label]["id"]
        await self.ask("Event", "isvu", number, "clicked", Variant("s", ""), 0)
