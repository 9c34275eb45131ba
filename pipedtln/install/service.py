"""The last steps: install and start the user service, and prove that DTLN Microphone sounds."""

from __future__ import annotations

from pathlib import Path

from pipedtln.install.files import edited, put_file, put_link, take_file, take_link
from pipedtln.install.proof import record_level
from pipedtln.install.step import Scene, Step
from pipedtln.install.unit import (
    UNIT,
    enablement_path,
    is_active,
    manager_runs,
    render,
    systemctl,
    unit_path,
)
from pipedtln.service.memory import DeviceMemory

_BY_HAND = "no systemd user manager runs here; start by hand, at each login: pipedtln run"


class InstallService(Step):
    """The unit file, and the link by which it starts at login."""

    name = "unit"
    title = "Install the service"
    undo_title = "Remove the service"

    def wanted(self, scene: Scene) -> bool:
        """Unless the user wants none."""
        return scene.wish.service

    def describe(self, scene: Scene) -> str:
        """Which files would be written."""
        return f"write {unit_path()} and start it at every login"

    def do(self, scene: Scene) -> str:
        """Write and enable the unit."""
        path = unit_path()
        if edited(scene.journal, path):
            scene.voice.note(f"{path} was edited and stays; remove it to get the new one")
        unit = render(on_cards=scene.config.backend == "portaudio")
        changed = put_file(scene.journal, self.name, path, unit.encode())
        linked = put_link(scene.journal, self.name, enablement_path(), path)
        if manager_runs():
            systemctl("daemon-reload")
        scene.changed = scene.changed or changed
        return f"{path}" + ("" if changed or linked else " (as it was)")

    def undo(self, scene: Scene) -> str | None:
        """Remove what is as setup wrote it."""
        deeds = scene.deeds(self)
        if not deeds:
            return None
        stayed = []
        for deed in deeds:
            path = Path(deed["name"])
            if deed["kind"] == "link":
                take_link(scene.journal, path)
            elif not take_file(scene.journal, path):
                stayed.append(path)
                scene.voice.note(f"{path} was edited since setup and stays; remove it yourself")
        if manager_runs():
            systemctl("daemon-reload")
        return "done" if not stayed else "disabled"


class StartService(Step):
    """The service runs now, where a user manager runs."""

    name = "start"
    title = "Start the service"
    undo_title = "Stop the service"

    def wanted(self, scene: Scene) -> bool:
        """Unless the user wants none."""
        return scene.wish.service

    def describe(self, scene: Scene) -> str:
        """Whether it could be started."""
        return f"start {UNIT}" if manager_runs() else _BY_HAND

    def do(self, scene: Scene) -> str:
        """Start it; restart it if it runs with what is now old."""
        if not manager_runs():
            scene.voice.note(_BY_HAND)
            return "not started"
        if is_active() and not scene.changed:
            return "it runs already"
        scene.journal.note({"kind": "started", "name": UNIT, "step": self.name})
        # A service that gave up is not started again before its failures are forgiven.
        systemctl("reset-failed", UNIT) if not is_active() else None
        systemctl("restart", UNIT)
        return "it runs"

    def undo(self, scene: Scene) -> str | None:
        """Stop it."""
        deeds = scene.deeds(self)
        if not deeds:
            return None
        if manager_runs():
            systemctl("stop", UNIT)
        DeviceMemory().forget()
        for deed in deeds:
            scene.journal.forget(deed)
        return "done"


class Prove(Step):
    """Half a second from DTLN Microphone, recorded the way any app would."""

    name = "proof"
    title = "Record from DTLN Microphone"
    needs_server = True

    def describe(self, scene: Scene) -> str:
        """That it would be tried."""
        return "record half a second from DTLN Microphone"

    def do(self, scene: Scene) -> str:
        """Record and tell the level."""
        level = record_level("pipedtln_microphone", seconds=0.5)
        if level == float("-inf"):
            return "it delivers sound (silence just now)"
        return f"it delivers sound (peak {level:.0f} dBFS)"
