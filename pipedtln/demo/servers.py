"""Private PulseAudio and PipeWire servers that know nothing of the user's own.

Each has its own runtime folder, home and session bus, and stands on simulated hardware: a
loudspeaker ``fake_speaker`` and a microphone ``fake_mic``, both the defaults. What is played into
the sink ``fake_mic_hw`` is what the microphone hears.

    with PrivatePipeWire() as server:
        server.add_room(delay_ms=60)                       # the loudspeaker echoes
        server.play("speech.flac", sink=server.MICROPHONE_INPUT)
        heard = server.record(server.MICROPHONE, seconds=2, rate=16_000)
        subprocess.run(["pactl", "info"], env=server.env)  # any program
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from abc import abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import pulsectl

from pipedtln.audio.server import connect
from pipedtln.demo.apps import Playback, Recording, Samples
from pipedtln.demo.hardware import Hardware
from pipedtln.demo.processes import Processes, wait_until
from pipedtln.errors import ServerError

# Variables that would lead a child process to the user's own servers or change ours.
_FOREIGN = (
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "DBUS_STARTER_ADDRESS",
    "DBUS_STARTER_BUS_TYPE",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
)
_FOREIGN_PREFIXES = ("PULSE_", "PIPEWIRE_", "WIREPLUMBER_", "SPA_", "XDG_", "PIPEDTLN_")
_KEPT = ("XDG_DATA_DIRS", "XDG_CONFIG_DIRS", "PIPEDTLN_MODELS_DIR")

_ServerT = TypeVar("_ServerT", bound="PrivateServer")


class PrivateServer(Hardware):
    """An audio server of one's own, with a session bus; a context manager.

    Parameters
    ----------
    inside : where its folder is made, and what programs play and record is kept
    calm : have PipeWire work in cycles of 10.7 ms at least, of which a machine without real-time
        priority misses few, where DTLN Speaker asks for 5.3; for when nobody minds 10 ms more

    Attributes
    ----------
    runtime_dir, home, config_home, state_home, data_home : its folders, gone after :meth:`stop`
    url : its address for libpulse
    bus_address : its session bus
    """

    kind: ClassVar[str]
    PROGRAMS: ClassVar[dict[str, str]]
    """Each program that is needed, with the Debian package that has it."""
    DAEMONS: ClassVar[tuple[str, ...]]
    """Roles of the server's own processes, the bus left out; the first is started first."""

    def __init__(self, *, inside: str = "/tmp", calm: bool = False) -> None:
        super().__init__()
        # Short, because a socket's path has at most 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="pdtln-", dir=inside))
        self.runtime_dir = self.folder / "run"
        self.home = self.folder / "home"
        self.config_home = self.home / ".config"
        self.state_home = self.home / ".local" / "state"
        self.data_home = self.home / ".local" / "share"
        self.cache_home = self.home / ".cache"
        for folder in (self.config_home, self.state_home, self.data_home, self.cache_home):
            folder.mkdir(parents=True)
        self.runtime_dir.mkdir(mode=0o700)
        self.socket = self.runtime_dir / "pulse" / "native"
        self.url = f"unix:{self.socket}"
        self.bus_address = f"unix:path={self.runtime_dir / 'bus'}"
        self._processes = Processes(self.folder)

    @classmethod
    def available(cls) -> bool:
        """Whether all programs of this server are installed."""
        return not cls.missing_packages()

    @classmethod
    def missing_packages(cls) -> list[str]:
        """Debian packages that are not installed."""
        return sorted({pkg for name, pkg in cls.PROGRAMS.items() if shutil.which(name) is None})

    @property
    def env(self) -> dict[str, str]:
        """Environment for child processes: this server and nothing of the user's."""
        env = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT or not (name in _FOREIGN or name.startswith(_FOREIGN_PREFIXES))
        }
        env.update(
            HOME=str(self.home),
            XDG_RUNTIME_DIR=str(self.runtime_dir),
            XDG_CONFIG_HOME=str(self.config_home),
            XDG_STATE_HOME=str(self.state_home),
            XDG_DATA_HOME=str(self.data_home),
            XDG_CACHE_HOME=str(self.cache_home),
            DBUS_SESSION_BUS_ADDRESS=self.bus_address,
            PULSE_SERVER=self.url,
        )
        return env

    def start(self) -> None:
        """Start what does not run yet: the bus, the server, its hardware and rooms.

        Raises
        ------
        ServerError
            If a package is missing or the server does not answer within 10 s.
        """
        missing = self.missing_packages()
        if missing:
            raise ServerError(
                f"{self.kind} cannot be started; install: apt-get install {' '.join(missing)}"
            )
        if self._processes.pid("dbus") is None:
            self._start_process("dbus", self._bus_command(), self.runtime_dir / "bus")
        if self._processes.pid(self.kind) is None:
            self._start_server()
            self._wait_for_answer()
            self._plug_everything()

    def stop(self) -> None:
        """End everything that was started and remove the folders; safe to call twice."""
        self._processes.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop_server(self) -> None:
        """End the audio server politely; the bus stays. :meth:`start` brings it back."""
        self._end_server(signal.SIGTERM)

    def kill(self) -> None:
        """End the audio server by SIGKILL; the bus stays. :meth:`start` brings it back."""
        self._end_server(signal.SIGKILL)

    def restart(self) -> None:
        """End the audio server politely and start it again, with its hardware and rooms."""
        self.stop_server()
        self.start()

    def pid(self) -> int | None:
        """Process id of the audio server (PipeWire: the daemon), None while it is down."""
        return self._processes.pid(self.kind)

    def pids(self) -> list[int]:
        """Process ids of all of the server's own processes that run."""
        return [pid for role in self.DAEMONS if (pid := self._processes.pid(role)) is not None]

    def send_signal(self, number: signal.Signals, *roles: str) -> None:
        """Signal single processes, e.g. SIGSTOP to let the server hang; default: the server."""
        for role in roles or (self.kind,):
            self._processes.send(role, number)

    def log(self, role: str) -> str:
        """What ``"dbus"``, ``"pulseaudio"``, ``"pipewire"``, ... wrote to its log."""
        path = self._processes.log(role)
        return path.read_text(errors="replace") if path.exists() else ""

    def connect(self) -> pulsectl.Pulse:
        """Open a control connection of a foreign program, to be closed (a context manager)."""
        return connect(self.url, timeout=5.0, client_name="private-server")

    def module_list(self) -> list[Any]:
        """All modules, as pulsectl tells them."""
        with self.connect() as pulse:
            return list(pulse.module_list())

    def player(
        self,
        sound: Path | str | Samples,
        sink: str | None = None,
        *,
        rate: int = 16_000,
        times: int = 1,
    ) -> Playback:
        """Start a program that plays a file, or an array at ``rate`` Hz; None: default sink.

        ``times``: how often, without a gap.
        """
        return Playback(sound, sink, self.env, self.folder, rate=rate, times=times)

    def play(
        self, sound: Path | str | Samples, sink: str | None = None, *, rate: int = 16_000
    ) -> None:
        """Play and wait for the end."""
        with self.player(sound, sink, rate=rate) as playback:
            playback.wait()

    def recorder(
        self, source: str | None = None, *, rate: int = 16_000, channels: int = 1
    ) -> Recording:
        """Start a program that records a source; None is the default."""
        return Recording(source, self.env, self.folder, rate=rate, channels=channels)

    def record(
        self, source: str | None, seconds: float, rate: int = 16_000, channels: int = 1
    ) -> Samples:
        """Record that long; float32, shape (seconds * rate,) or (seconds * rate, channels)."""
        with self.recorder(source, rate=rate, channels=channels) as recording:
            return recording.wait(seconds)

    def __enter__(self: _ServerT) -> _ServerT:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @abstractmethod
    def _start_server(self) -> None:
        """Start the server's processes, the one of role ``kind`` included."""

    @abstractmethod
    def _end_server(self, number: signal.Signals) -> None:
        """End the server's processes by this signal."""

    def _bus_command(self) -> list[str]:
        return [
            "dbus-daemon",
            "--session",
            "--nofork",
            "--nopidfile",
            f"--address={self.bus_address}",
        ]

    def _start_process(self, role: str, command: list[str], socket: Path | None = None) -> None:
        if socket is not None:
            socket.unlink(missing_ok=True)
        self._processes.start(role, command, self.env)
        if socket is not None and not wait_until(socket.exists, timeout=10.0):
            raise ServerError(f"{role} did not start: {self._processes.log_tail(role)}")

    def _wait_for_answer(self) -> None:
        last: list[ServerError] = []

        def answers() -> bool:
            try:
                with self.connect() as pulse:
                    pulse.server_info()
            except (ServerError, pulsectl.PulseError) as error:
                last[:] = [error if isinstance(error, ServerError) else ServerError(str(error))]
                return False
            return True

        if not wait_until(answers, timeout=10.0, step=0.02):
            tail = self._processes.log_tail(self.kind)
            raise ServerError(f"the private {self.kind} does not answer: {tail}") from last[0]


class PrivatePulseAudio(PrivateServer):
    """A PulseAudio daemon with the modules of a desktop, but no access to hardware."""

    kind = "pulseaudio"
    DAEMONS = ("pulseaudio",)
    PROGRAMS: ClassVar[dict[str, str]] = {
        "pulseaudio": "pulseaudio",
        "pacat": "pulseaudio-utils",
        "dbus-daemon": "dbus",
    }
    MODULES: ClassVar[tuple[str, ...]] = (
        "module-native-protocol-unix",
        "module-device-restore",
        "module-stream-restore",
        "module-default-device-restore",
        "module-always-sink",
        "module-suspend-on-idle",
    )

    def _start_server(self) -> None:
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"]
        command += ["--use-pid-file=no", "--log-target=stderr", "--log-time=true"]
        for module in self.MODULES:
            command += ["-L", module]
        self._start_process(self.kind, command, self.socket)

    def _end_server(self, number: signal.Signals) -> None:
        self._processes.stop(self.kind, number=number)


class PrivatePipeWire(PrivateServer):
    """PipeWire with WirePlumber and pipewire-pulse, without any hardware monitor."""

    kind = "pipewire"
    DAEMONS = ("pipewire", "wireplumber", "pipewire-pulse")
    PROGRAMS: ClassVar[dict[str, str]] = {
        "pipewire": "pipewire",
        "pipewire-pulse": "pipewire-pulse",
        "wireplumber": "wireplumber",
        "pw-metadata": "pipewire-bin",
        "pacat": "pulseaudio-utils",
        "dbus-daemon": "dbus",
    }

    def __init__(self, *, inside: str = "/tmp", calm: bool = False) -> None:
        super().__init__(inside=inside, calm=calm)
        files = {f"wireplumber/{name}": text for name, text in _NO_HARDWARE.items()}
        if calm:
            files["pipewire/pipewire.conf.d/calm.conf"] = _CALM
        for name, text in files.items():
            path = self.config_home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def _start_server(self) -> None:
        self._start_process("pipewire", ["pipewire"], self.runtime_dir / "pipewire-0")
        # A client that goes before WirePlumber has answered for it leaves the server telling
        # nobody of changed defaults, see `pipedtln.audio.server.server_info`. So there is none
        # before WirePlumber can answer, but for this one, which stays.
        self._processes.log("pw-metadata").unlink(missing_ok=True)
        self._start_process("pw-metadata", ["pw-metadata", "-m"])
        self._start_process("wireplumber", ["wireplumber"])
        if not wait_until(lambda: "Found" in self.log("pw-metadata"), timeout=10.0):
            raise ServerError(
                f"WirePlumber did not start: {self._processes.log_tail('wireplumber')}"
            )
        self._start_process("pipewire-pulse", ["pipewire-pulse"], self.socket)

    def _wait_for_policy(self) -> None:
        # Until WirePlumber has named default devices for the first time, pipewire-pulse guesses
        # them, and a wish of ours is refused or lost. Who is connected may miss it.
        def decided() -> bool:
            told = subprocess.run(
                ["pw-metadata"], env=self.env, capture_output=True, text=True, check=False
            ).stdout
            return "'default.audio.sink'" in told and "'default.audio.source'" in told

        if not wait_until(decided, timeout=10.0):
            raise ServerError(
                f"WirePlumber chose no default device: {self._processes.log_tail('wireplumber')}"
            )
        self._processes.stop("pw-metadata")

    def _end_server(self, number: signal.Signals) -> None:
        for role in ("pw-metadata", *reversed(self.DAEMONS)):
            self._processes.stop(role, number=number)
        for name in ("pipewire-0.lock", "pipewire-0"):
            with contextlib.suppress(OSError):
                (self.runtime_dir / name).unlink()


_CALM = "context.properties = { default.clock.min-quantum = 512 }\n"

# WirePlumber must not take the user's real cards and headsets. 0.4 reads the Lua fragments, 0.5
# the other one.
_NO_HARDWARE = {
    "main.lua.d/51-no-hardware.lua": (
        "alsa_monitor.enabled = false\n"
        "libcamera_monitor.enabled = false\n"
        "v4l2_monitor.enabled = false\n"
    ),
    "bluetooth.lua.d/51-no-hardware.lua": "bluez_monitor.enabled = false\n",
    "wireplumber.conf.d/51-no-hardware.conf": (
        "wireplumber.profiles = {\n"
        "  main = {\n"
        "    monitor.alsa = disabled\n"
        "    monitor.alsa-midi = disabled\n"
        "    monitor.bluez = disabled\n"
        "    monitor.bluez-midi = disabled\n"
        "    monitor.libcamera = disabled\n"
        "    monitor.v4l2 = disabled\n"
        "  }\n"
        "}\n"
    ),
}
