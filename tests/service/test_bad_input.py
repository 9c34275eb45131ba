"""Whatever is wrong at the start: one clear line and the right exit code, or sound all the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from tests.servers.test_private_servers import source_names
from tests.service.bridge import MICROPHONE, RunningBridge
from tests.service.sounds import LOW, tone, wait_heard
from tests.service.test_server import run_cli


@pytest.fixture
def server(pulseaudio: PrivateServer) -> Iterator[PrivateServer]:
    """Run on one kind of server; none of this depends on which."""
    yield pulseaudio


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mic = [", ["line 1"]),
        ("version = 1\nmicrophone = 'auto'\n", ["microphone", "valid keys"]),
        ("version = 1\nstrength = 400\n", ["strength", "400", "0 to 100"]),
        ("version = 99\n", ["99"]),
    ],
)
def test_broken_config_is_one_line_that_names_it(
    server: PrivateServer, text: str, words: list[str]
) -> None:
    path = server.config_home / "pipedtln" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    told = run_cli(RunningBridge(server), "run")
    print(told.stderr)
    assert told.returncode == 2
    (line,) = told.stderr.splitlines()
    assert line.startswith("Error: ")
    assert str(path) in line
    for word in words:
        assert word in line


def test_unknown_model_lets_the_microphone_through_and_says_so(
    server: PrivateServer, models: Path
) -> None:
    with RunningBridge(server, "--model", "nonsense") as bridge:
        status = bridge.wait_state("open")
        assert "nonsense" in status.problems[0]
        hears_microphone(server)


def break_missing(files: list[Path]) -> None:
    for file in files:
        file.unlink()


def break_truncated(files: list[Path]) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[:1000])


def break_altered(files: list[Path]) -> None:
    for file in files:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [break_missing, break_truncated, break_altered])
def test_wrong_weights_open_the_microphone_until_right_ones_appear(
    server: PrivateServer, models: Path, tmp_path: Path, damage: object
) -> None:
    assert callable(damage)
    folder = tmp_path / "weights"
    shutil.copytree(models / "ns-int8", folder)
    damage(sorted(folder.iterdir()))
    env: dict[str, str | None] = {"PIPEDTLN_MODELS_DIR": str(folder)}
    with RunningBridge(server, "--model", "ns-int8", env=env) as bridge:
        status = bridge.wait_state("open")
        assert "ns-int8" in status.problems[0]
        assert "pipedtln models fetch" in status.problems[0]
        hears_microphone(server)
        shutil.rmtree(folder)
        shutil.copytree(models / "ns-int8", folder)
        assert bridge.wait_state("idle").problems == []
        assert bridge.log().count("goes through unprocessed") == 1


def test_home_and_state_that_cannot_be_written_cost_only_the_memory(
    server: PrivateServer, models: Path
) -> None:
    nowhere = "/proc/pipedtln"
    env: dict[str, str | None] = {
        "HOME": nowhere,
        "XDG_STATE_HOME": nowhere,
        "XDG_CONFIG_HOME": nowhere,
        "XDG_DATA_HOME": nowhere,
        "XDG_CACHE_HOME": nowhere,
        "PIPEDTLN_BYPASS": "on",
    }
    with RunningBridge(server, env=env) as bridge:
        bridge.wait_state("bypassed")
        hears_microphone(server)
        assert "cannot remember the devices" in bridge.log()
        assert "Traceback" not in bridge.log()


def test_without_a_session_bus_the_service_runs_and_says_so_once(server: PrivateServer) -> None:
    env: dict[str, str | None] = {
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={server.folder}/no-bus",
        "PIPEDTLN_BYPASS": "on",
    }
    with RunningBridge(server, env=env) as bridge:
        # There is no bus to ask for its state on.
        assert wait_until(lambda: MICROPHONE in source_names(server), 20.0, step=0.1)
        hears_microphone(server)
        assert bridge.log().count("without remote control") == 1
        assert "Traceback" not in bridge.log()
        assert bridge.stop() == 0


def test_without_a_runtime_folder_the_service_runs_and_still_only_once(
    server: PrivateServer, tmp_path: Path
) -> None:
    env: dict[str, str | None] = {
        "XDG_RUNTIME_DIR": None,
        "TMPDIR": str(tmp_path),
        "PIPEDTLN_BYPASS": "on",
    }
    with RunningBridge(server, env=env) as bridge:
        bridge.wait_state("bypassed")
        hears_microphone(server)
        told = run_cli(bridge, "run")
        assert told.returncode == 3
        assert f"process {bridge.pid}" in told.stderr


def test_runtime_folder_that_cannot_be_written_is_one_line(server: PrivateServer) -> None:
    told = run_cli(RunningBridge(server), "run", env={"XDG_RUNTIME_DIR": "/proc/pipedtln"})
    print(told.stderr)
    assert told.returncode == 3
    (line,) = told.stderr.splitlines()
    assert "XDG_RUNTIME_DIR" in line


def test_foreign_device_of_our_name_is_told_and_left_alone(server: PrivateServer) -> None:
    with server.connect() as pulse:
        theirs = pulse.module_load("module-null-sink", "sink_name=pipedtln_out")
    with RunningBridge(server, env={"PIPEDTLN_BYPASS": "on"}) as bridge:
        status = bridge.wait_for(lambda s: bool(s.problems))
        assert "another program made a" in status.problems[0]
        before = bridge.cpu_seconds()
        with server.recorder("fake_mic") as wait:
            wait.wait(3.0)
        used = 100 * (bridge.cpu_seconds() - before) / 3.0
        print(f"waiting for a name takes {used:.1f} % of a core")
        assert used < 10
        with server.connect() as pulse:
            pulse.module_unload(theirs)
        bridge.wait_for(lambda s: s.problems == [])
        hears_microphone(server)


def hears_microphone(server: PrivateServer) -> None:
    with (
        server.player(tone(LOW), server.MICROPHONE_INPUT, rate=16_000),
        server.recorder(MICROPHONE) as app,
    ):
        wait_heard(app, LOW)
