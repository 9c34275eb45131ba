"""The steps that touch the desktop's sound: the devices, and the files that make them at login."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pulsectl

from pipedtln.audio.server import connect
from pipedtln.devices.defaults import get_defaults
from pipedtln.devices.names import RESERVED
from pipedtln.devices.selection import choose_output
from pipedtln.devices.virtual import VirtualDevices
from pipedtln.errors import DeviceError, DeviceNotFoundError, ServerError
from pipedtln.install.choice import is_chosen
from pipedtln.install.defaults import set_default
from pipedtln.install.files import edited, put_file, take_file
from pipedtln.install.step import Scene, Step
from pipedtln.install.unit import manager_runs
from pipedtln.resources import resource

_MICROPHONE_FILE = "50-pipedtln-microphone.conf"
_SPEAKER_FILE = "50-pipedtln-speaker.conf"


class MakeDevices(Step):
    """DTLN Microphone and DTLN Speaker, there from now on."""

    name = "devices"
    title = "Make DTLN Microphone and DTLN Speaker"
    needs_server = True
    undo_title = "Remove DTLN Microphone and DTLN Speaker"

    def describe(self, scene: Scene) -> str:
        """Which real output DTLN Speaker would play to."""
        with connect() as pulse:
            output = _output(pulse, scene)
        return f"make DTLN Microphone, and DTLN Speaker that plays to {output or 'nothing yet'}"

    def do(self, scene: Scene) -> str:
        """Create, adopt or repair them; the defaults stay what they are."""
        scene.journal.note({"kind": "devices", "name": "virtual", "step": self.name})
        with connect() as pulse:
            before = get_defaults(pulse)
            output = _output(pulse, scene)
            changes = VirtualDevices(pulse).ensure(output)
            after = get_defaults(pulse)
            for kind in ("source", "sink"):
                was, now = getattr(before, kind), getattr(after, kind)
                moved = bool(was) and now != was and now in RESERVED
                # A server that was told to prefer ours earlier returns to it: that is no accident.
                if moved and not (scene.journal.find("default", kind) or is_chosen(kind, now)):
                    set_default(pulse, kind, was)
        if output is None:
            scene.voice.note("DTLN Speaker is silent until its output is there")
        return "made" if changes.created else "they are there already"

    def undo(self, scene: Scene) -> str | None:
        """Unload all modules of ours, whoever of us loaded them."""
        deeds = scene.deeds(self)
        removed = False
        try:
            with connect() as pulse:
                removed = bool(VirtualDevices(pulse).remove())
        except ServerError:
            # They ended with the server that had them.
            if deeds:
                scene.voice.note("no sound server answers; its devices ended with it")
        except DeviceError as error:
            scene.voice.note(str(error))
        for deed in deeds:
            scene.journal.forget(deed)
        return "removed" if removed else "they are gone already" if deeds else None


class InstallDropIns(Step):
    """On PipeWire the devices are there at every login, before anything of Python runs."""

    name = "drop-ins"
    title = "Make the devices at every login"
    needs_server = True
    undo_title = "Make no devices at login"

    def wanted(self, scene: Scene) -> bool:
        """Only PipeWire reads such files."""
        return scene.server is not None and scene.server.kind == "pipewire"

    def describe(self, scene: Scene) -> str:
        """Which files would be written."""
        return "write " + ", ".join(map(str, _files(scene)))

    def do(self, scene: Scene) -> str:
        """Write the files; PipeWire reads them when it starts."""
        files = _files(scene)
        for path in files:
            if edited(scene.journal, path):
                scene.voice.note(f"{path} was edited and stays; remove it to get the new one")
            put_file(scene.journal, self.name, path, resource("pipewire", path.name).read_bytes())
        return ", ".join(map(str, files))

    def undo(self, scene: Scene) -> str | None:
        """Remove what is as setup wrote it."""
        deeds = scene.deeds(self)
        for deed in deeds:
            path = Path(deed["name"])
            if not take_file(scene.journal, path):
                scene.voice.note(f"{path} was edited since setup and stays; remove it yourself")
        return "done" if deeds else None


def _output(pulse: pulsectl.Pulse, scene: Scene) -> str | None:
    """The sink that DTLN Speaker plays to now; the service follows once a missing one comes."""
    try:
        return choose_output(pulse, scene.config.output)
    except DeviceNotFoundError:
        return None


def _files(scene: Scene) -> list[Path]:
    """Where the drop-ins go.

    DTLN Speaker is silent until the service connects it to the real output: where no service
    starts at login it must not be there either, or a desktop that has it as default is mute.
    """
    folder = Path(platformdirs.user_config_path()) / "pipewire" / "pipewire-pulse.conf.d"
    names = [_MICROPHONE_FILE]
    if scene.wish.service and manager_runs():
        names.append(_SPEAKER_FILE)
    return [folder / name for name in names]
