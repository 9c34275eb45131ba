"""A desktop's day on a private server: what can happen, and what must hold after each event."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pulsectl

from pipedtln.demo.apps import Playback, Recording
from pipedtln.demo.servers import PrivateServer
from pipedtln.devices.modules import list_modules
from pipedtln.errors import PipedtlnError
from tests.service.bridge import MICROPHONE, RunningBridge, loopback_targets, our_streams
from tests.service.sounds import HIGH, LOW, WINDOW, amplitude, rms, tone
from tests.service.test_server import ONE_SET, children, our_devices

SECOND = "other_mic"
PITCH = {PrivateServer.MICROPHONE: LOW, SECOND: HIGH}
PATIENCE_S = 8.0
"""Three seconds are meant, and counted; the rest is for a shared machine."""
MEANT_S = 3.0


class World:
    """The service, two microphones that hum, and an app that records or does not.

    Parameters
    ----------
    stop_s : for how long the service is stopped by SIGSTOP
    """

    def __init__(self, server: PrivateServer, rng: random.Random, stop_s: float) -> None:
        self.server = server
        self.rng = rng
        self.stop_s = stop_s
        self.bridge = RunningBridge(server, env={"PIPEDTLN_STRENGTH": "50"})
        self.plugged = {server.MICROPHONE, SECOND}
        self.recording: Recording | None = None
        self.wants_sound = False
        self.waits: list[float] = []
        self.base: dict[int, tuple[float, int]] = {}
        self._players: dict[str, Playback] = {}
        self._mark = 0

    # --- what happens -------------------------------------------------------------------------

    def kill_service(self) -> None:
        self.bridge.kill()
        self.bridge.start()

    def restart_service(self) -> None:
        assert self.bridge.stop() == 0
        self.bridge.start()

    def kill_server(self) -> None:
        self.server.kill()
        time.sleep(self.rng.uniform(0, 1))
        self.server.start()
        self._plug_as_before()

    def restart_server(self) -> None:
        self.server.restart()
        self._plug_as_before()

    def unplug(self) -> None:
        if self.plugged:
            name = self.rng.choice(sorted(self.plugged))
            self.server.unplug_microphone(name)
            self.plugged.discard(name)

    def plug(self) -> None:
        for name in sorted(PITCH.keys() - self.plugged)[:1]:
            self.server.plug_microphone(name)
            self.plugged.add(name)

    def change_default_source(self) -> None:
        self._pactl("set-default-source", self.rng.choice([MICROPHONE, *sorted(self.plugged)]))

    def change_default_sink(self) -> None:
        name = self.rng.choice(["pipedtln_speaker", self.server.SPEAKER])
        self._pactl("set-default-sink", name)

    def start_recording(self) -> None:
        self.wants_sound = True

    def stop_recording(self) -> None:
        self.wants_sound = False

    def stop_process(self) -> None:
        self.bridge.send(signal.SIGSTOP)
        time.sleep(self.stop_s)
        self.bridge.send(signal.SIGCONT)

    def move_streams(self) -> None:
        with self.server.connect() as pulse:
            sources, sinks = pulse.source_list(), pulse.sink_list()
            for stream in pulse.source_output_list():
                if stream.proplist.get("pipedtln.owner") == "pipedtln":
                    with contextlib.suppress(pulsectl.PulseError):
                        pulse.source_output_move(stream.index, self.rng.choice(sources).index)
            for stream in pulse.sink_input_list():
                if stream.proplist.get("pipedtln.owner") == "pipedtln":
                    with contextlib.suppress(pulsectl.PulseError):
                        pulse.sink_input_move(stream.index, self.rng.choice(sinks).index)

    def unload_module(self) -> None:
        with self.server.connect() as pulse:
            modules = list_modules(pulse)
            if modules:
                with contextlib.suppress(pulsectl.PulseError):
                    pulse.module_unload(self.rng.choice(modules).index)

    @property
    def events(self) -> list[Callable[[], None]]:
        """Each as often as it is listed."""
        return [
            self.kill_service,
            self.restart_service,
            self.kill_server,
            self.restart_server,
            *[self.unplug, self.plug] * 2,
            *[self.change_default_source, self.change_default_sink] * 2,
            *[self.start_recording] * 3,
            self.stop_recording,
            self.stop_process,
            self.move_streams,
            self.unload_module,
        ]

    # --- what must hold -----------------------------------------------------------------------

    def check(self) -> str:
        """Wait until everything is as it must be; says in short what is.

        Raises
        ------
        AssertionError
            With what was still wrong after :data:`PATIENCE_S`.
        """
        begin = time.monotonic()
        self._mark = self._recorded()
        wrong = "nothing looked at"
        while True:
            try:
                wrong = self._wrong()
            except (PipedtlnError, pulsectl.PulseError) as error:
                wrong = str(error)
            if not wrong:
                break
            if time.monotonic() - begin > PATIENCE_S:
                raise AssertionError(f"{wrong}\n{self.bridge.log()[-3000:]}")
            time.sleep(0.05)
        took = time.monotonic() - begin
        self.waits.append(took)
        self._check_process()
        heard = "sound" if self.wants_sound and self.plugged else "quiet"
        return f"{heard} after {took:.2f} s"

    def _wrong(self) -> str:
        """What is not as it must be, an empty text if nothing."""
        if not self.bridge.runs:
            return "the service ended"
        status = self.bridge.status()
        if status.server is None:
            return f"is {status.state}"
        if status.mic not in self.plugged and (self.plugged or status.mic is not None):
            return f"listens to {status.mic}"
        if spawned := children(self.bridge.pid):
            return f"the service started {spawned}"
        return self._wrong_devices() or self._wrong_sound()

    def _wrong_devices(self) -> str:
        devices = our_devices(self.server)
        if devices != ONE_SET:
            return f"devices: {dict(devices)}"
        heard = [device for name, device in our_streams(self.server) if name == "DTLN microphone"]
        if any(device not in PITCH for device in heard) or len(heard) > 1:
            return f"the microphone streams are on {heard}"
        target = loopback_targets(self.server)
        return "" if target == [self.server.SPEAKER] else f"DTLN Speaker plays on {target}"

    def _wrong_sound(self) -> str:
        self._hum()
        if not self.wants_sound:
            self._stop_app()
            streams = our_streams(self.server)
            return f"open although nobody records: {streams}" if streams else ""
        self._start_app()
        return self._unheard() if self.plugged else ""

    def _unheard(self) -> str:
        assert self.recording is not None
        # What was on its way before does not count.
        newest = self.recording.samples()[self._mark + 2 * WINDOW :][-WINDOW:]
        if len(newest) < WINDOW:
            return "the app has no sound yet"
        if rms(newest) > 0.4:
            return f"feedback: RMS {rms(newest):.2f}"
        levels = {name: amplitude(newest, PITCH[name]) for name in self.plugged}
        return "" if max(levels.values()) > 0.03 else f"the app hears no microphone: {levels}"

    def _check_process(self) -> None:
        bridge = self.bridge
        now = (bridge.memory_mb(), bridge.descriptors())
        memory, descriptors = self.base.setdefault(bridge.pid, now)
        # The first look may be at a process that has no streams open yet.
        assert now[0] < memory + 30, f"memory grew from {memory:.0f} to {now[0]:.0f} MB"
        assert now[1] < descriptors + 20, f"descriptors grew from {descriptors} to {now[1]}"

    # --- the other programs ---------------------------------------------------------------------

    def _hum(self) -> None:
        for name in self.plugged:
            player = self._players.get(name)
            if player is None or not player.playing:
                if player is not None:
                    player.stop()
                air = self.server.MICROPHONE_INPUT if name != SECOND else f"{SECOND}_hw"
                self._players[name] = self.server.player(tone(PITCH[name]), air, rate=16_000)

    def _start_app(self) -> None:
        if self.recording is not None and self.recording.recording:
            with self.server.connect() as pulse:
                source = next(s.index for s in pulse.source_list() if s.name == MICROPHONE)
                if any(
                    stream.proplist.get("application.process.id") == str(self.recording.pid)
                    and stream.source == source
                    for stream in pulse.source_output_list()
                ):
                    return
                if not self.recording.samples().size:
                    return  # it has only just started
        # It ended with its server, or was moved when its source went: the user starts it again.
        self._stop_app()
        self.recording = self.server.recorder(MICROPHONE)

    def _recorded(self) -> int:
        return len(self.recording.samples()) if self.recording is not None else 0

    def _stop_app(self) -> None:
        if self.recording is not None:
            self.recording.stop()
            self.recording = None
        self._mark = 0

    def _plug_as_before(self) -> None:
        """The server brings back both microphones; take away what was not plugged."""
        for name in PITCH.keys() - self.plugged:
            self.server.unplug_microphone(name)

    def _pactl(self, *arguments: str) -> None:
        subprocess.run(["pactl", *arguments], env=self.server.env, check=False)

    def close(self) -> None:
        """End the service and all programs."""
        self._stop_app()
        for player in self._players.values():
            player.stop()
        if self.bridge.runs:
            self.bridge.kill()

    def summary(self) -> str:
        """Times from each event until all was well, and what the processes took."""
        late = sum(wait > MEANT_S for wait in self.waits)
        worst = sorted(self.waits)
        return (
            f"{len(self.waits)} events; well again after {worst[len(worst) // 2]:.2f} s (median), "
            f"{worst[-1]:.2f} s (worst), {late} later than {MEANT_S:.0f} s"
        )


def count(events: list[str]) -> str:
    """How often each happened."""
    return ", ".join(f"{name} {number}" for name, number in sorted(Counter(events).items()))


def strays(folder: Path, known: set[int]) -> list[str]:
    """Processes that live in a server's folders and that nobody knows."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in known:
            with contextlib.suppress(OSError):
                environment = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if f"XDG_RUNTIME_DIR={folder}".encode() in environment and command:
                    found.append(command)
    return found
