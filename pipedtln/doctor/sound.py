"""The sound server: what it is, our devices in it, who records, and where feedback lurks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pulsectl

from pipedtln.audio.server import connect, server_errors, server_info
from pipedtln.config import Config
from pipedtln.devices.arguments import parse
from pipedtln.devices.listing import list_sinks, list_sources
from pipedtln.devices.names import MICROPHONE, OUTPUT_MONITOR, RESERVED, SPEAKER, SPEAKER_MONITOR
from pipedtln.devices.recorders import list_recorders
from pipedtln.devices.selection import choose_microphone, choose_output, choose_reference
from pipedtln.devices.virtual import VirtualDevices
from pipedtln.doctor.finding import Finding, ok, problem, warning
from pipedtln.errors import PipedtlnError

_POLICY = ("WirePlumber", "PipeWire Media Session", "pipewire-media-session")
_CALL_PROFILES = ("headset", "handsfree", "hsp", "hfp")


class SoundChecks:
    """Checks that share one connection to the server.

    Parameters
    ----------
    config : the settings in force
    pulse : connection to look through; None makes one

    Raises
    ------
    ServerError
        From the constructor, if no server answers.
    """

    def __init__(self, config: Config, pulse: pulsectl.Pulse | None = None) -> None:
        self._config = config
        self.pulse: pulsectl.Pulse = pulse or connect()

    def close(self) -> None:
        """Leave the server."""
        self.pulse.close()

    def server(self) -> Iterator[Finding]:
        """Which server, and whether its policy daemon runs."""
        info = server_info(self.pulse)
        if info.kind == "pulseaudio":
            yield ok("sound server", f"PulseAudio {info.version}")
            return
        yield ok("sound server", f"PipeWire {info.version}")
        with server_errors("list the server's clients"):
            names = [
                str(client.proplist.get("application.name") or client.name)
                for client in self.pulse.client_list()
            ]
        daemon = next((name for name in names if name.startswith(_POLICY)), None)
        if daemon:
            yield ok("policy daemon", daemon.split(" [")[0])
        else:
            yield problem(
                "policy daemon",
                "none runs: PipeWire connects no streams by itself",
                "systemctl --user enable --now wireplumber",
            )

    def own_devices(self) -> Iterator[Finding]:
        """DTLN Microphone and DTLN Speaker: complete, single, and whose they are."""
        devices = VirtualDevices(self.pulse)
        output = choose_output(self.pulse, self._config.output)
        modules = devices.modules()
        present = {device.name for device in list_sources(self.pulse) if device.ours}
        if not modules and MICROPHONE not in present:
            yield problem("own devices", "there is no DTLN Microphone", "pipedtln setup")
            return
        wrong = devices.verify(output)
        for line in wrong:
            yield problem("own devices", line, "systemctl --user restart pipedtln")
        if not wrong:
            order = ", ".join(f"{module.role} {module.index}" for module in modules)
            yield ok("own devices", "complete" + (f" (modules: {order})" if order else ""))

    def defaults(self) -> Iterator[Finding]:
        """What apps use that were not told otherwise."""
        info = server_info(self.pulse)
        if info.default_source == MICROPHONE:
            yield ok("default microphone", "DTLN Microphone")
        elif info.default_source is None:
            yield warning("default microphone", "there is none", "pipedtln setup")
        elif info.default_source in (SPEAKER_MONITOR, OUTPUT_MONITOR):
            yield problem(
                "default microphone",
                f"{info.default_source} is a monitor: apps record what is played",
                f"pactl set-default-source {MICROPHONE}",
            )
        else:
            yield warning(
                "default microphone",
                f"{info.default_source}: apps that follow the default get it uncleaned",
                f"choose DTLN Microphone in the app, or: pactl set-default-source {MICROPHONE}",
            )
        if self._config.reference == "speaker" and info.default_sink != SPEAKER:
            yield warning(
                "default output",
                f"{info.default_sink}: what is played there is no echo reference",
                f"pipedtln set reference auto, or: pactl set-default-sink {SPEAKER}",
            )
        else:
            yield ok("default output", str(info.default_sink or "none"))

    def chosen_devices(self) -> Iterator[Finding]:
        """The microphone and the reference that the settings lead to."""
        try:
            yield ok("microphone", choose_microphone(self.pulse, self._config.mic))
        except PipedtlnError as error:
            yield problem("microphone", str(error), "pipedtln set mic auto")
        try:
            reference = choose_reference(self.pulse, self._config.reference)
        except PipedtlnError as error:
            yield problem("reference", str(error), "pipedtln set reference auto")
            return
        if reference or self._config.reference != "auto":
            yield ok("reference", reference or self._config.reference)
        else:
            yield warning("reference", "no output to listen to: echo stays", "pipedtln devices")

    def recorders(self) -> Iterator[Finding]:
        """Who records DTLN Microphone, and who the bare microphone."""
        cleaned = [recorder.name for recorder in list_recorders(self.pulse)]
        yield ok("recorders", ", ".join(cleaned) or "nobody records DTLN Microphone now")
        with suppress(PipedtlnError):  # told by another check
            microphone = choose_microphone(self.pulse, self._config.mic)
            bare = [
                recorder.name
                for recorder in list_recorders(self.pulse, microphone)
                if recorder.listens
            ]
            if bare:
                yield warning(
                    "recorders",
                    f"{', '.join(bare)}: records {microphone} itself, uncleaned",
                    "choose DTLN Microphone in that app",
                )
        for monitor in (SPEAKER_MONITOR, OUTPUT_MONITOR):
            for recorder in list_recorders(self.pulse, monitor):
                if recorder.listens and "loopback" not in recorder.name.lower():
                    yield warning(
                        "recorders",
                        f"{recorder.name} records {monitor}, which is not meant for apps",
                        "choose DTLN Microphone in that app",
                    )

    def feedback(self) -> Iterator[Finding]:
        """Loopbacks that play DTLN Microphone, so that it hears itself."""
        with server_errors("list the modules"):
            loopbacks = [
                (module.index, parse(module.argument))
                for module in self.pulse.module_list()
                if module.name == "module-loopback"
            ]
        default = server_info(self.pulse).default_source
        looping = [
            index
            for index, arguments in loopbacks
            if arguments.get("source", default or "") in (MICROPHONE, OUTPUT_MONITOR)
        ]
        for index in looping:
            yield warning(
                "feedback",
                f"module-loopback {index} plays DTLN Microphone: you hear yourself",
                f"pactl unload-module {index}",
            )
        if not looping:
            yield ok("feedback", "no loopback plays DTLN Microphone")

    def bluetooth(self) -> Iterator[Finding]:
        """Headsets: either good sound or a microphone."""
        with server_errors("list the cards"):
            cards = self.pulse.card_list()
        for card in cards:
            if card.proplist.get("device.bus") != "bluetooth" and "bluez" not in str(card.name):
                continue
            profile = str(card.profile_active.name) if card.profile_active else "off"
            if profile.startswith(_CALL_PROFILES):
                yield warning(
                    "bluetooth",
                    f"a headset is in the call profile {profile}: it plays in telephone quality",
                    f"use another microphone, then: pactl set-card-profile {card.index} a2dp-sink",
                )
            else:
                yield ok("bluetooth", f"a device is in profile {profile}; its microphone is off")

    def namesakes(self) -> Iterator[Finding]:
        """Devices of others that bear our names."""
        every = [*list_sources(self.pulse), *list_sinks(self.pulse)]
        foreign = sorted({one.name for one in every if one.name in RESERVED and not one.ours})
        for name in foreign:
            yield problem(
                "own devices",
                f"{name} exists, but another program made it",
                "find it with: pactl list short modules",
            )
