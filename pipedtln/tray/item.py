"""The item itself, as org.kde.StatusNotifierItem has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dbus_fast import Variant
from dbus_fast.aio import MessageBus

from pipedtln.control.wire import clean_text
from pipedtln.tray.exported import Exported, Method
from pipedtln.tray.icon import SIZES, pixmap
from pipedtln.tray.menu import Menu

TITLE = "DTLN Microphone"


@dataclass(frozen=True)
class Face:
    """What is seen: a state of Status or ``"off"``, and words about it."""

    state: str = "off"
    words: str = ""


class Item(Exported):
    """Shows a face, and passes on clicks and turns of the wheel.

    Parameters
    ----------
    pressed : called after a click with the middle button
    turned : called with the wheel's steps, positive is up
    """

    path: ClassVar[str] = "/StatusNotifierItem"
    interface: ClassVar[str] = "org.kde.StatusNotifierItem"

    def __init__(
        self, bus: MessageBus, pressed: Callable[[], None], turned: Callable[[int], None]
    ) -> None:
        super().__init__(bus)
        self._pressed = pressed
        self._turned = turned
        self._face = Face()

    def show(self, face: Face) -> None:
        """Have this face from now on; tells the desktop what of it is new."""
        before, self._face = self._face, face
        if face.state != before.state:
            self.emit("NewIcon")
            self.emit("NewStatus", self._status())
        if face != before:
            self.emit("NewToolTip")

    def methods(self) -> Mapping[str, Method]:
        """Those of the interface."""
        return {
            "Activate": Method("ii", "", lambda _x, _y: []),
            "ContextMenu": Method("ii", "", lambda _x, _y: []),
            "SecondaryActivate": Method("ii", "", self._secondary),
            "Scroll": Method("is", "", self._scroll),
        }

    def properties(self) -> Mapping[str, Variant]:
        """Those of the interface."""
        state = self._face.state
        icon = [[size, size, pixmap(state, size)] for size in SIZES]
        words = clean_text(self._face.words)
        return {
            "Category": Variant("s", "Hardware"),
            "Id": Variant("s", "pipedtln"),
            "Title": Variant("s", TITLE),
            "Status": Variant("s", self._status()),
            "WindowId": Variant("i", 0),
            # No name: a theme's microphone would hide the state.
            "IconName": Variant("s", ""),
            "IconPixmap": Variant("a(iiay)", icon),
            "OverlayIconName": Variant("s", ""),
            "AttentionIconName": Variant("s", ""),
            "AttentionIconPixmap": Variant("a(iiay)", icon),
            "ToolTip": Variant("(sa(iiay)ss)", ["", [], TITLE, words]),
            "ItemIsMenu": Variant("b", True),
            "Menu": Variant("o", Menu.path),
        }

    def signals(self) -> Mapping[str, str]:
        """Those of the interface that we send."""
        return {"NewIcon": "", "NewStatus": "s", "NewToolTip": ""}

    def _status(self) -> str:
        return "NeedsAttention" if self._face.state == "open" else "Active"

    def _secondary(self, _x: int, _y: int) -> list[Any]:
        self._pressed()
        return []

    def _scroll(self, delta: int, orientation: str) -> list[Any]:
        if orientation.lower() == "vertical" and delta:
            self._turned(1 if delta > 0 else -1)
        return []
