"""The first steps: find the sound server, fetch the networks' weights, write the config."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipedtln.audio.cards import refresh_cards
from pipedtln.audio.server import ServerInfo, connect, server_info
from pipedtln.config import KEYS, load
from pipedtln.configfile import (
    config_path,
    default_text,
    kept_files,
    read,
    save_key,
    upgrade,
    write_config,
)
from pipedtln.devices.cards import choose_card_microphone, choose_card_output
from pipedtln.devices.listing import list_sinks, list_sources
from pipedtln.errors import DeviceNotFoundError, InstallError
from pipedtln.install.journal import missing_folders, remove_folders
from pipedtln.install.step import Scene, Step


class FindServer(Step):
    """A server has to answer, or there have to be cards to bridge; nothing is changed."""

    name = "server"
    title = "Find the sound server"

    def describe(self, scene: Scene) -> str:
        """Which server it is."""
        return f"use {self.do(scene)}"

    def do(self, scene: Scene) -> str:
        """Ask the server who it is, or PortAudio for the cards."""
        if scene.config.backend == "portaudio":
            return _find_cards(scene)
        with connect() as pulse:
            scene.server = server_info(pulse)
            names = {device.name for device in [*list_sources(pulse), *list_sinks(pulse)]}
        config = scene.config
        for key in ("mic", "output", "reference"):
            name = getattr(config, key)
            words = (KEYS[key].default, "speaker", "none")
            if name not in words and name not in names and not name.startswith("channel:"):
                scene.voice.note(
                    f"{key} = '{name}' is not there now; the service waits for it. "
                    "Names: pipedtln devices"
                )
        return server_words(scene.server)


def _find_cards(scene: Scene) -> str:
    """The microphone and the virtual one of a host with ALSA alone.

    Raises
    ------
    DeviceNotFoundError
        If there is no output; says what to load.
    ServerError
        If PortAudio is not installed.
    """
    refresh_cards()
    output = choose_card_output(scene.config.output)
    try:
        mic = choose_card_microphone(scene.config.mic).name
    except DeviceNotFoundError as error:
        scene.voice.note(f"{error}; the service waits for it")
        mic = "none yet"
    return f"ALSA: {mic} to {output.name}"


class WriteConfig(Step):
    """config.toml with every key explained; an existing one gets only what options say."""

    name = "config"
    title = "Write the settings"
    undo_title = "Settings"

    def describe(self, scene: Scene) -> str:
        """Which file would be written."""
        path = config_path()
        if not path.exists():
            return f"write {path}"
        changes = [
            name for name, value in scene.wish.settings.items() if read(path).get(name) != value
        ]
        return f"change {', '.join(changes)} in {path}" if changes else f"keep {path}"

    def do(self, scene: Scene) -> str:
        """Write or change the file, then read it as the service will."""
        path = config_path()
        before = read(path, must_exist=False)
        deed = scene.journal.find("config", str(path))
        folders = deed["folders"] if deed else missing_folders(path.parent)
        scene.journal.note(
            {"kind": "config", "name": str(path), "step": self.name, "folders": folders}
        )
        kept = upgrade(path)
        if path.exists():
            for key, value in scene.wish.settings.items():
                save_key(key, value, path)
        else:
            write_config(path, default_text(dict(scene.wish.settings)))
        scene.config = load(environment={})
        changed = read(path) != before
        scene.changed = scene.changed or changed
        if kept is not None:
            return f"{path}, brought to this release's format; the old one is {kept}"
        return f"{path}" + ("" if changed else " (as it was)")

    def undo(self, scene: Scene) -> str | None:
        """Keep the file, as it is the user's, unless all is to go."""
        path = config_path()
        deeds = scene.deeds(self)
        result = None
        if scene.wish.purge and path.is_file():
            _remove(path)
            result = f"removed {path}"
        elif deeds and path.is_file():
            result = f"kept {path}"
        if scene.wish.purge:
            for kept in kept_files(path):
                _remove(kept)
            remove_folders([str(path.parent)])
        for deed in deeds:
            remove_folders(deed["folders"])
            scene.journal.forget(deed)
        return result


def remove_tree(folder: Path) -> None:
    """Remove a folder of ours with all in it.

    Raises
    ------
    InstallError
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InstallError(f"cannot remove {folder}: {error.strerror or error}") from error


def server_words(server: ServerInfo) -> str:
    """The server as one reads it."""
    kind = {"pulseaudio": "PulseAudio", "pipewire": "PipeWire"}[server.kind]
    return f"{kind} {server.version}"


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InstallError(f"cannot remove {path}: {error.strerror or error}") from error
