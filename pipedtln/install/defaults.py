"""The server's default microphone and output: changed on request, restored while still ours."""

from __future__ import annotations

import pulsectl

from pipedtln.audio.server import connect
from pipedtln.devices.defaults import (
    Defaults,
    get_defaults,
    set_default_sink,
    set_default_source,
)
from pipedtln.devices.names import MICROPHONE, SPEAKER
from pipedtln.errors import DeviceNotFoundError
from pipedtln.install.choice import is_automatic, is_chosen, make_automatic
from pipedtln.install.step import Scene, Step

OURS = Defaults(source=MICROPHONE, sink=SPEAKER)
_WORDS = {"source": "microphone", "sink": "output"}


class SetDefaults(Step):
    """DTLN Microphone and DTLN Speaker become what apps use unless told otherwise."""

    name = "defaults"
    title = "Make DTLN Microphone and DTLN Speaker the defaults"
    needs_server = True
    undo_title = "Restore the defaults"

    def wanted(self, scene: Scene) -> bool:
        """Only on request."""
        return scene.wish.set_default

    def describe(self, scene: Scene) -> str:
        """What would become the default instead of what."""
        with connect() as pulse:
            changes = [
                f"make {ours} the default {_WORDS[kind]} instead of {now}"
                for kind, now, ours in _differences(get_defaults(pulse))
            ]
        return "; ".join(changes) or "keep both, which are the defaults already"

    def do(self, scene: Scene) -> str:
        """Change both, after noting what they were."""
        with connect() as pulse:
            differences = _differences(get_defaults(pulse))
            for kind, before, ours in differences:
                earlier = scene.journal.find("default", kind)
                # After a server's restart our devices, once made, may not be back in effect yet
                # although they are still what was chosen: that is no choice of the user's.
                automatic = is_automatic(kind) or (
                    earlier is not None and earlier["automatic"] and is_chosen(kind, ours)
                )
                deed = {"kind": "default", "name": kind, "step": self.name}
                scene.journal.note({**deed, "before": before, "automatic": automatic})
                set_default(pulse, kind, ours)
        return "done" if differences else "they are already"

    def undo(self, scene: Scene) -> str | None:
        """Restore those that are still ours; what the user chose since stays."""
        deeds = scene.deeds(self)
        if not deeds:
            return None
        restored = []
        with connect() as pulse:
            for deed in deeds:
                kind, before = deed["name"], deed["before"]
                now = getattr(get_defaults(pulse), kind)
                if now == getattr(OURS, kind):
                    if deed.get("automatic") and make_automatic(kind):
                        restored.append(f"{_WORDS[kind]} by the server's own choice")
                    elif before and self._set_back(pulse, scene, kind, before):
                        restored.append(f"{_WORDS[kind]} {before}")
                scene.journal.forget(deed)
        return "restored " + " and ".join(restored) if restored else "left as they are"

    def _set_back(self, pulse: pulsectl.Pulse, scene: Scene, kind: str, before: str) -> bool:
        try:
            set_default(pulse, kind, before)
        except DeviceNotFoundError:
            scene.voice.note(
                f"the default {_WORDS[kind]} of before, {before}, is not there; "
                "the server picks another"
            )
            return False
        return True


def set_default(pulse: pulsectl.Pulse, kind: str, name: str) -> None:
    """Make a source or a sink the default.

    Raises
    ------
    DeviceError, ServerError
    """
    if kind == "source":
        set_default_source(pulse, name)
    else:
        set_default_sink(pulse, name)


def _differences(now: Defaults) -> list[tuple[str, str | None, str]]:
    """Kind, present name and our name of each default that is not ours."""
    pairs = (("source", now.source, MICROPHONE), ("sink", now.sink, SPEAKER))
    return [(kind, name, ours) for kind, name, ours in pairs if name != ours]
