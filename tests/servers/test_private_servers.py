"""The private servers that all other tests stand on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivatePipeWire, PrivatePulseAudio, PrivateServer

RATE = 16_000


def tone(seconds: float, amplitude: float = 0.5) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * 440.0 * t)).astype(np.float32)


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples.astype(np.float64)))))


def defaults(server: PrivateServer) -> tuple[str, str]:
    with server.connect() as pulse:
        info = pulse.server_info()
        return info.default_source_name, info.default_sink_name


def source_names(server: PrivateServer) -> set[str]:
    with server.connect() as pulse:
        return {source.name for source in pulse.source_list()}


def test_fake_microphone_and_speaker_are_the_defaults(server: PrivateServer) -> None:
    assert defaults(server) == ("fake_mic", "fake_speaker")


def test_child_processes_reach_this_server_and_not_the_users(
    server: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSE_SERVER", "unix:/nowhere")
    monkeypatch.setenv("DISPLAY", ":77")
    monkeypatch.setenv("PIPEDTLN_MIC", "other")
    env = server.env
    assert "DISPLAY" not in env
    assert "PIPEDTLN_MIC" not in env
    told = subprocess.run(["pactl", "info"], env=env, capture_output=True, text=True, check=True)
    assert "Default Source: fake_mic" in told.stdout
    assert ("PipeWire" in told.stdout) == (server.kind == "pipewire")
    assert server.runtime_dir.stat().st_mode & 0o777 == 0o700
    assert Path(env["HOME"]).is_relative_to(server.folder)


@pytest.mark.pipewire
def test_calm_pipewire_has_no_short_cycles() -> None:
    with PrivatePipeWire(calm=True) as server:
        told = subprocess.run(
            ["pw-metadata", "-n", "settings"],
            env=server.env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    assert "key:'clock.min-quantum' value:'512'" in told


def test_session_bus_answers(server: PrivateServer) -> None:
    command = ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.DBus", "/"]
    command.append("org.freedesktop.DBus.ListNames")
    subprocess.run(command, env=server.env, capture_output=True, check=True)


def test_microphone_hears_what_is_played_into_the_air(server: PrivateServer) -> None:
    with server.player(tone(3.0), server.MICROPHONE_INPUT, rate=RATE):
        heard = server.record(server.MICROPHONE, seconds=1.0, rate=RATE)
    assert heard.shape == (RATE,)
    assert level(heard[RATE // 2 :]) == pytest.approx(0.354, rel=0.05)


def test_a_sound_played_several_times_goes_on_without_a_pause(server: PrivateServer) -> None:
    with server.player(tone(0.5), server.MICROPHONE_INPUT, rate=RATE, times=6) as playback:
        heard = server.record(server.MICROPHONE, seconds=2.0, rate=RATE)
        playback.wait()
    loud = [level(piece) > 0.3 for piece in np.split(heard, 100)]
    print(f"{server.kind}: {sum(loud)} of 100 pieces, the first is {loud.index(True)}")
    assert sum(loud[50:]) >= 48


def test_a_player_leaves_the_processor_alone_to_its_end(server: PrivateServer) -> None:
    # pacat took a whole core for the last second, from when the writer of its pipe had hung up.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    server.play(tone(4.0), server.MICROPHONE_INPUT, rate=RATE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{server.kind}: {1000 * took_s:.0f} ms of processor time for 4 s of sound")
    assert took_s < 0.4


def test_room_echoes_with_its_coupling(server: PrivateServer) -> None:
    room = server.add_room(delay_ms=60, coupling=1.0)
    with server.player(tone(6.0), server.SPEAKER, rate=RATE):
        loud = level(server.record(server.MICROPHONE, 1.5, RATE)[RATE:])
        room.set_coupling(0.1)
        quiet = level(server.record(server.MICROPHONE, 1.5, RATE)[RATE:])
        room.remove()
        silent = level(server.record(server.MICROPHONE, 1.5, RATE)[RATE:])
    print(f"{server.kind}: echo {loud:.3f}, tenth {quiet:.4f}, without room {silent:.6f}")
    assert quiet / loud == pytest.approx(0.1, rel=0.1)
    assert silent < 1e-4


def test_microphone_can_be_unplugged_and_comes_back_as_default(server: PrivateServer) -> None:
    server.unplug_microphone()
    assert server.MICROPHONE not in source_names(server)
    server.plug_microphone()
    assert wait_until(lambda: defaults(server)[0] == server.MICROPHONE, timeout=3.0)


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_server_comes_back_with_hardware_and_rooms(server: PrivateServer, how: str) -> None:
    server.add_room(delay_ms=60, coupling=1.0)
    before = server.pid()
    if how == "kill":
        server.kill()
        assert server.pid() is None
        server.start()
    else:
        server.restart()
    assert server.pid() != before
    assert defaults(server) == ("fake_mic", "fake_speaker")
    with server.player(tone(3.0), server.SPEAKER, rate=RATE):
        assert level(server.record(server.MICROPHONE, 1.0, RATE)[RATE // 2 :]) > 0.1


def test_stop_leaves_no_process_and_no_folder(server: PrivateServer) -> None:
    folder = server.folder
    assert processes_that_name(folder)
    server.stop()
    assert not folder.exists()
    assert processes_that_name(folder) == []


@pytest.mark.pulseaudio
def test_server_ends_when_its_owner_is_killed() -> None:
    program = (
        "import time\n"
        "from pipedtln.demo.servers import PrivatePulseAudio\n"
        "server = PrivatePulseAudio()\n"
        "server.start()\n"
        "print(server.folder, flush=True)\n"
        "time.sleep(60)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=env
    ) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        assert processes_that_name(folder)
        owner.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not processes_that_name(folder), timeout=5.0)
    assert wait_until(lambda: not folder.exists(), timeout=5.0)


def test_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not PrivatePulseAudio.available()
    assert PrivatePulseAudio.missing_packages() == ["dbus", "pulseaudio", "pulseaudio-utils"]


def processes_that_name(folder: Path) -> list[str]:
    """Command lines and environments of processes that mention a folder, ours excepted."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in text:
            found.append(entry.name)
    return found
