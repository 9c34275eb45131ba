"""The step that makes the desktop know us: menu entry, icon, and how the bus starts the service."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import platformdirs
from dbus_fast import DBusError

from pipedtln.control import bus as session
from pipedtln.errors import ServiceError
from pipedtln.install.files import edited, put_file, take_file
from pipedtln.install.step import Scene, Step
from pipedtln.install.unit import command, python_path
from pipedtln.resources import resource

_ID = "io.github.pipedtln"
_MUST_ESCAPE = '"`$\\'


class AddToDesktop(Step):
    """The monitor stands in the desktop's menu, and a call on the bus starts the service."""

    name = "desktop"
    title = "Add it to the desktop"
    undo_title = "Remove it from the desktop"

    def describe(self, scene: Scene) -> str:
        """Which files would be written."""
        return "write " + ", ".join(map(str, _files(scene)))

    def do(self, scene: Scene) -> str:
        """Write the files; the bus is told, since it may not watch the folder yet."""
        files = _files(scene)
        changed = False
        for path, data in files.items():
            if edited(scene.journal, path):
                scene.voice.note(f"{path} was edited and stays; remove it to get the new one")
            changed = put_file(scene.journal, self.name, path, data) or changed
        if changed:
            _reload_bus()
        return "done" if changed else "it is there already"

    def undo(self, scene: Scene) -> str | None:
        """Remove what is as setup wrote it."""
        deeds = scene.deeds(self)
        for deed in deeds:
            path = Path(deed["name"])
            if not take_file(scene.journal, path):
                scene.voice.note(f"{path} was edited since setup and stays; remove it yourself")
        if deeds:
            _reload_bus()
        return "done" if deeds else None


def render(entry: str) -> str:
    """A desktop entry whose commands have the full path of the Python that runs now.

    A desktop's menu has the login's ``PATH``, which leads to no virtual environment.

    Parameters
    ----------
    entry : the shipped text, with ``Exec=pipedtln ...``
    """
    words = command()
    path = python_path()
    if path is not None:
        words = ["env", f"PYTHONPATH={path}", *words]
    start = "Exec=" + " ".join(map(_quote, words)) + " "
    lines = entry.splitlines(keepends=True)
    return "".join(line.replace("Exec=pipedtln ", start, 1) for line in lines)


def _quote(word: str) -> str:
    """One argument of an Exec line, by the Desktop Entry Specification.

    Escaped twice: as an argument in quotes, then as any value of such a file.
    """
    quoted = "".join("\\" + char if char in _MUST_ESCAPE else char for char in word)
    return '"' + quoted.replace("\\", "\\\\").replace("%", "%%") + '"'


def _files(scene: Scene) -> dict[Path, bytes]:
    """What goes where."""
    data = Path(platformdirs.user_data_path())
    files = {
        data / "applications" / f"{_ID}.desktop": _rendered(f"{_ID}.desktop"),
        data / "icons" / "hicolor" / "scalable" / "apps" / f"{_ID}.svg": resource(
            "desktop", f"{_ID}.svg"
        ).read_bytes(),
    }
    if scene.wish.service:
        activation = resource("systemd-user", f"{_ID}.service").read_bytes()
        files[data / "dbus-1" / "services" / f"{_ID}.service"] = activation
    if scene.wish.tray:
        autostart = Path(platformdirs.user_config_path()) / "autostart"
        files[autostart / f"{_ID}.tray.desktop"] = _rendered(f"{_ID}.tray.desktop")
    return files


def _rendered(name: str) -> bytes:
    return render(resource("desktop", name).read_text(encoding="utf-8")).encode()


def _reload_bus() -> None:
    """Have the bus look at its folders again; without one the files are read at the next login."""

    async def ask() -> None:
        bus = await session.connect()
        try:
            await session.call(bus, "ReloadConfig")
        finally:
            bus.disconnect()
            await session.ended(bus)

    with suppress(ServiceError, ConnectionError, DBusError, asyncio.TimeoutError):
        asyncio.run(ask())
