"""The tray item's menu, as com.canonical.dbusmenu has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dbus_fast import Variant
from dbus_fast.aio import MessageBus

from pipedtln.control.wire import clean_text
from pipedtln.tray.exported import Exported, Method


@dataclass(frozen=True)
class Entry:
    """One line of a menu.

    Attributes
    ----------
    number : by which the desktop calls it; 0 is the menu itself
    label : empty for a line that divides
    ticked : None where there is nothing to tick
    one_of_many : whether the tick is a choice among its neighbours
    value : what a click on it means to the owner; None where it means nothing
    """

    number: int
    label: str = ""
    enabled: bool = True
    ticked: bool | None = None
    one_of_many: bool = False
    children: tuple[Entry, ...] = ()
    value: tuple[str, Any] | None = None

    def properties(self) -> dict[str, Variant]:
        """As the desktop reads them; those with their usual value are left out."""
        said: dict[str, Variant] = {}
        if self.number and not self.label:
            said["type"] = Variant("s", "separator")
        if self.label:
            # An underscore would mark a key; two are one.
            said["label"] = Variant("s", clean_text(self.label).replace("_", "__"))
        if not self.enabled:
            said["enabled"] = Variant("b", False)
        if self.ticked is not None:
            said["toggle-type"] = Variant("s", "radio" if self.one_of_many else "checkmark")
            said["toggle-state"] = Variant("i", int(self.ticked))
        if self.children:
            said["children-display"] = Variant("s", "submenu")
        return said

    def layout(self, depth: int, names: Sequence[str]) -> list[Any]:
        """``(ia{sv}av)`` of it and what is below; a depth of -1 is all."""
        below = self.children if depth else ()
        return [
            self.number,
            _only(self.properties(), names),
            [Variant("(ia{sv}av)", child.layout(depth - 1, names)) for child in below],
        ]


class Menu(Exported):
    """Offers entries and says which one was clicked.

    Parameters
    ----------
    clicked : called with the entry's value
    opening : called when the menu is about to be shown
    """

    path: ClassVar[str] = "/MenuBar"
    interface: ClassVar[str] = "com.canonical.dbusmenu"

    def __init__(
        self,
        bus: MessageBus,
        clicked: Callable[[tuple[str, Any]], None],
        opening: Callable[[], None],
    ) -> None:
        super().__init__(bus)
        self._clicked = clicked
        self._opening = opening
        self._root = Entry(0)
        self._revision = 1

    def show(self, entries: Sequence[Entry]) -> None:
        """Have these entries from now on; tells the desktop if they are others."""
        root = Entry(0, children=tuple(entries))
        if root != self._root:
            self._root = root
            self._revision += 1
            self.emit("LayoutUpdated", self._revision, 0)

    def methods(self) -> Mapping[str, Method]:
        """Those of the interface."""
        return {
            "GetLayout": Method("iias", "u(ia{sv}av)", self._get_layout),
            "GetGroupProperties": Method("aias", "a(ia{sv})", self._get_group),
            "GetProperty": Method("is", "v", self._get_property),
            "Event": Method("isvu", "", self._event),
            "EventGroup": Method("a(isvu)", "ai", self._events),
            "AboutToShow": Method("i", "b", self._about_to_show),
            "AboutToShowGroup": Method("ai", "aiai", self._about_to_show_group),
        }

    def properties(self) -> Mapping[str, Variant]:
        """Those of the interface."""
        return {
            "Version": Variant("u", 3),
            "TextDirection": Variant("s", "ltr"),
            "Status": Variant("s", "normal"),
            "IconThemePath": Variant("as", []),
        }

    def signals(self) -> Mapping[str, str]:
        """Those of the interface that we send."""
        return {"LayoutUpdated": "ui"}

    def _entries(self) -> dict[int, Entry]:
        found: dict[int, Entry] = {}
        waiting = [self._root]
        while waiting:
            entry = waiting.pop()
            found[entry.number] = entry
            waiting.extend(entry.children)
        return found

    def _entry(self, number: int) -> Entry:
        entry = self._entries().get(number)
        if entry is None:
            raise LookupError(f"no entry {number}")
        return entry

    def _get_layout(self, parent: int, depth: int, names: list[str]) -> list[Any]:
        return [self._revision, self._entry(parent).layout(depth, names)]

    def _get_group(self, numbers: list[int], names: list[str]) -> list[Any]:
        entries = self._entries()
        wanted = [number for number in numbers if number in entries] if numbers else list(entries)
        return [[[number, _only(entries[number].properties(), names)] for number in wanted]]

    def _get_property(self, number: int, name: str) -> list[Any]:
        value = self._entry(number).properties().get(name)
        if value is None:
            raise LookupError(f"entry {number} has no {name}")
        return [value]

    def _event(self, number: int, kind: str, _data: Variant, _time: int) -> list[Any]:
        entry = self._entry(number)
        if kind == "clicked" and entry.enabled and entry.value is not None:
            self._clicked(entry.value)
        return []

    def _events(self, events: list[list[Any]]) -> list[Any]:
        known = self._entries()
        for event in events:
            if event[0] in known:
                self._event(*event)
        return [[event[0] for event in events if event[0] not in known]]

    def _about_to_show(self, _number: int) -> list[Any]:
        self._opening()
        return [False]

    def _about_to_show_group(self, numbers: list[int]) -> list[Any]:
        self._opening()
        known = self._entries()
        return [[], [number for number in numbers if number not in known]]


def _only(properties: dict[str, Variant], names: Sequence[str]) -> dict[str, Variant]:
    return {name: value for name, value in properties.items() if not names or name in names}
