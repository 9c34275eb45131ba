"""On a full disk and in a read-only home the voice goes on, and nothing is lost or half-written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipedtln.demo.servers import PrivateServer
from pipedtln.devices.defaults import get_defaults
from tests.mounts import SCRIPTS, Mounted, mounted
from tests.service.bridge import MICROPHONE, ROOT, RunningBridge
from tests.service.sounds import rms
from tests.service.test_bad_input import hears_microphone
from tests.service.test_server import ONE_SET, our_devices

PIPEDTLN = (sys.executable, "-m", "pipedtln")
CONFIG = "version = 1\nstrength = 60\n"
SOUND = ROOT / "tests" / "dtln" / "golden" / "ns-int8.flac"
REASON = {"full": "No space left on device", "read-only": "Read-only file system"}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def server(pulseaudio: PrivateServer) -> Iterator[PrivateServer]:
    """Run on one kind of server; none of this depends on which."""
    yield pulseaudio


@pytest.fixture(params=sorted(SCRIPTS))
def disk(request: pytest.FixtureRequest, server: PrivateServer) -> Iterator[Mounted]:
    """The home of a user who has settings and a recording."""
    config = server.config_home / "pipedtln" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(CONFIG)
    shutil.copy(SOUND, server.home / "in.flac")
    with mounted(server.home, str(request.param)) as disk:
        yield disk


def pipedtln(
    disk: Mounted, server: PrivateServer, *words: str, **changes: str
) -> subprocess.CompletedProcess[str]:
    told = disk.run(*PIPEDTLN, *words, env={**RunningBridge(server).env, **changes})
    print("$ pipedtln", *words, "->", told.returncode, told.stderr)
    return told


def files(disk: Mounted) -> dict[str, bytes]:
    """What lies in the home, but for the server's own."""
    return {name: data for name, data in disk.files().items() if "config/pulse/" not in name}


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("set strength 50", 2),
        ("setup --no-service", 7),
        ("setup", 7),
        ("process HOME/in.flac -o HOME/out.wav", 2),
        ("models fetch ns-int8", 5),
    ],
)
def test_each_command_is_one_line_and_changes_nothing(
    server: PrivateServer, models: Path, disk: Mounted, command: str, code: int
) -> None:
    before = files(disk)
    assert before[".config/pipedtln/config.toml"] == CONFIG.encode()
    words = command.replace("HOME", str(server.home)).split()
    changes = {"PIPEDTLN_MODELS_DIR": ""} if words[0] == "models" else {}
    told = pipedtln(disk, server, *words, https_proxy=NOWHERE, **changes)
    assert told.returncode == code
    (line,) = told.stderr.splitlines()
    assert line.startswith("Error: ")
    assert str(server.home) in line
    assert any(reason in line for reason in (REASON[disk.how], "disk full", "0 are free"))
    assert files(disk) == before
    assert not our_devices(server)


def test_the_service_runs_and_does_what_it_is_told_until_it_ends(
    server: PrivateServer, models: Path, disk: Mounted
) -> None:
    before = files(disk)
    with RunningBridge(server, within=disk) as bridge:
        bridge.wait_state("idle")
        with server.recorder(MICROPHONE):
            bridge.wait_state("running")
            told = pipedtln(
                disk, server, "record", "--seconds", "1", "-o", str(server.home / "rec")
            )
            assert told.returncode == 2
            assert str(server.home / "rec") in told.stderr.splitlines()[-1]
        told = pipedtln(disk, server, "bypass", "on")
        assert told.returncode == 2
        assert "not for the next start" in told.stderr
        assert REASON[disk.how] in told.stderr
        hears_microphone(server)
        assert pipedtln(disk, server, "mute", "on").returncode == 2
        with server.recorder(MICROPHONE) as app:
            assert rms(app.wait(0.5)) == 0.0
        assert bridge.log().count("cannot remember the devices") == 1
        assert "Traceback" not in bridge.log()
        assert bridge.stop() == 0
    assert files(disk) == before


@pytest.mark.parametrize(("how", "code"), [("full", 0), ("read-only", 7)])
def test_teardown_undoes_all_that_the_disk_lets_it(
    server: PrivateServer, models: Path, how: str, code: int
) -> None:
    with server.connect() as pulse:
        before = get_defaults(pulse)
    setup = [*PIPEDTLN, "setup", "--no-service", "--set-default"]
    subprocess.run(setup, env=RunningBridge(server).env, check=True)
    assert our_devices(server) == ONE_SET
    with mounted(server.home, how) as disk:
        told = pipedtln(disk, server, "teardown")
        assert told.returncode == code
        assert len(told.stderr.splitlines()) == (code != 0)
        left = {name for name in files(disk) if "config.toml" not in name}
        assert bool(left) == (code != 0)
    assert not our_devices(server)
    with server.connect() as pulse:
        assert get_defaults(pulse) == before
