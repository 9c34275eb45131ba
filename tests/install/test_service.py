"""The installed service under a real user manager: started, rebooted, upgraded, torn down."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipedtln.control.wire import INTERFACE, NAME, PATH
from pipedtln.demo.servers import PrivateServer
from pipedtln.install.files import digest
from pipedtln.install.unit import UNIT
from tests.install.conftest import UserManager, wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(180)]


class Desktop:
    """A user manager and a sound server that belong together."""

    def __init__(self, manager: UserManager, server: PrivateServer, models: Path) -> None:
        self.manager = manager
        self.server = server
        root = str(Path(__file__).resolve().parents[2])
        manager.env.update(
            PULSE_SERVER=server.url, PIPEDTLN_MODELS_DIR=str(models), PYTHONPATH=root
        )
        # There is no journal here.
        folder = manager.home / ".config" / "systemd" / "user" / f"{UNIT}.d"
        folder.mkdir(parents=True)
        log = manager.folder / "service.log"
        (folder / "log.conf").write_text(
            f"[Service]\nStandardOutput=append:{log}\nStandardError=append:{log}\n"
        )
        self.login()

    def login(self) -> None:
        """Let the manager's services find the server, as a desktop's session does."""
        self.manager.systemctl("import-environment", "PULSE_SERVER")

    def pipedtln(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command as the user."""
        return self.manager.run(sys.executable, "-m", "pipedtln", *arguments)

    def expect(self, *arguments: str) -> str:
        """Run the command, which has to succeed."""
        done = self.pipedtln(*arguments)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.log()[-2000:]}"
        return done.stdout

    def log(self) -> str:
        """What the service wrote."""
        path = self.manager.folder / "service.log"
        return path.read_text() if path.exists() else ""

    def own_devices(self) -> set[str]:
        """Names of our devices on the server."""
        return {one["name"] for one in json.loads(self.expect("devices", "--json"))["own"]}

    def files(self) -> set[str]:
        """Files and links in the user's home, those of libpulse and caches aside."""
        home = self.manager.home
        names = {
            str(path.relative_to(home))
            for path in home.rglob("*")
            if path.is_file() or path.is_symlink()
        }
        return {name for name in names if not name.startswith((".config/pulse", ".cache"))}


@pytest.fixture
def desktop(manager: UserManager, server: PrivateServer, models: Path) -> Iterator[Desktop]:
    yield Desktop(manager, server, models)


def active(desktop: Desktop) -> bool:
    return desktop.manager.systemctl("is-active", "--quiet", UNIT).returncode == 0


def test_setup_reboot_and_teardown(desktop: Desktop) -> None:
    manager = desktop.manager
    before = desktop.files()

    told = desktop.expect("setup", "--yes")
    assert "it runs" in told
    assert "it delivers sound" in told
    status = manager.systemctl("status", UNIT)
    assert status.returncode == 0
    assert "active (running)" in status.stdout
    print(status.stdout)
    assert manager.show(UNIT, "StatusText") != ""
    assert desktop.own_devices() >= {"pipedtln_microphone", "pipedtln_speaker"}

    manager.reboot()
    desktop.login()
    wait_until(lambda: active(desktop), "the service is back after the reboot", timeout=60)
    assert json.loads(desktop.expect("status", "--json"))["pid"] == int(
        manager.show(UNIT, "MainPID")
    )

    told = desktop.expect("teardown", "--purge", "--yes")
    assert not active(desktop)
    assert manager.show(UNIT, "LoadState") == "not-found"
    assert desktop.own_devices() == set()
    assert desktop.files() == before


def test_a_newcomer_follows_the_help_alone(desktop: Desktop) -> None:
    """From install to a bypass toggle and back by the first steps that --help tells."""
    steps = re.findall(
        r"^  pipedtln ([a-z ]+?)  +",
        desktop.expect("--help").split("First steps:")[1],
        re.MULTILINE,
    )
    assert [step.split()[0] for step in steps] == ["setup", "status", "bypass", "teardown"]
    said = {step: desktop.expect(*step.split()) for step in steps[:-1]}
    assert "DTLN Microphone" in said["setup"]
    assert "fake_mic" in said["status"]
    assert said["bypass toggle"] == "bypass = on\n"
    assert json.loads(desktop.expect("status", "--json"))["bypass"] is True
    desktop.expect(*steps[-1].split())
    assert desktop.own_devices() == set()


def test_a_call_on_the_bus_starts_the_service(desktop: Desktop) -> None:
    desktop.expect("setup", "--yes")
    desktop.manager.systemctl("stop", UNIT)
    assert not active(desktop)
    # Our own commands never start what the user has stopped.
    assert desktop.pipedtln("status").returncode == 3
    assert not active(desktop)
    said = desktop.manager.run(
        "busctl", "--user", "call", NAME, PATH, INTERFACE, "GetStatus", timeout=60
    )
    assert said.returncode == 0, said.stderr + desktop.log()[-2000:]
    assert "pid" in said.stdout
    wait_until(lambda: active(desktop), "the service runs")
    desktop.expect("teardown", "--yes")
    names = desktop.manager.run("busctl", "--user", "list", "--activatable").stdout
    assert f"{NAME} " not in names


def test_setup_again_restarts_only_what_changed(desktop: Desktop) -> None:
    desktop.expect("setup", "--yes")
    first = desktop.manager.show(UNIT, "MainPID")
    assert "it runs already" in desktop.expect("setup", "--yes")
    assert desktop.manager.show(UNIT, "MainPID") == first
    desktop.expect("setup", "--yes", "--reference", "none")
    assert desktop.manager.show(UNIT, "MainPID") != first
    assert active(desktop)


def test_an_older_unit_is_upgraded_and_an_edited_one_is_kept(desktop: Desktop) -> None:
    desktop.expect("setup", "--yes")
    unit = desktop.manager.home / ".config" / "systemd" / "user" / UNIT
    new = unit.read_text()
    journal = desktop.manager.home / ".local" / "state" / "pipedtln" / "setup.json"

    old = new.replace("WatchdogSec=15", "WatchdogSec=99")
    unit.write_text(old)
    journal.write_text(journal.read_text().replace(digest(new.encode()), digest(old.encode())))
    first = desktop.manager.show(UNIT, "MainPID")
    desktop.expect("setup", "--yes")
    assert unit.read_text() == new
    assert desktop.manager.show(UNIT, "MainPID") != first

    unit.write_text(new + "# mine\n")
    assert "was edited and stays" in desktop.expect("setup", "--yes")
    assert "was edited since setup and stays" in desktop.expect("teardown", "--yes")
    assert unit.read_text() == new + "# mine\n"
    assert not active(desktop)


@pytest.mark.parametrize("line", ["Install the service ...", "Start the service ..."])
def test_ctrl_c_while_the_service_is_installed_is_undone(desktop: Desktop, line: str) -> None:
    before = desktop.files()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pipedtln", "setup", "--yes"],
        env=desktop.manager.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    while process.stdout.readline().strip() != line:
        assert process.poll() is None, "setup ended before that step"
    # A terminal sends it to the whole group: to systemctl, too.
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "Error: interrupted\n")
    desktop.expect("teardown", "--purge", "--yes")
    assert desktop.files() == before
    assert not active(desktop)
    assert desktop.own_devices() == set()


def test_a_killed_service_comes_back_and_makes_no_doubles(desktop: Desktop) -> None:
    desktop.expect("setup", "--yes")
    own = desktop.own_devices()
    first = desktop.manager.show(UNIT, "MainPID")
    desktop.manager.systemctl("kill", "--signal=KILL", UNIT)
    wait_until(
        lambda: active(desktop) and desktop.manager.show(UNIT, "MainPID") not in ("0", first),
        "the service is restarted",
    )
    assert desktop.own_devices() == own


HANGS = """
from pathlib import Path
from time import sleep
from pipedtln.stream.voice import Voice

def hanging(plain):
    def process(*arguments, **options):
        while (Path.home() / "hang").exists():
            sleep(0.05)
        plain(*arguments, **options)

    return process

Voice.process = hanging(Voice.process)
Voice.process_batch = hanging(Voice.process_batch)
"""


def test_a_worker_that_hangs_is_restarted_and_one_that_idles_is_not(desktop: Desktop) -> None:
    manager = desktop.manager
    hooks = manager.home / "hooks"
    hooks.mkdir()
    (hooks / "hangs.py").write_text(HANGS)
    (hooks / "start.py").write_text(
        "import hangs, runpy, sys\nsys.argv = ['pipedtln', 'run']\n"
        "runpy.run_module('pipedtln', run_name='__main__')\n"
    )
    unit = manager.home / ".config" / "systemd" / "user" / f"{UNIT}.d" / "hang.conf"
    unit.write_text(
        "[Service]\nWatchdogSec=2\nRestartSec=100ms\nTimeoutAbortSec=1\nExecStart=\n"
        f'ExecStart="{sys.executable}" "{hooks / "start.py"}"\n'
    )
    desktop.expect("setup", "--yes")
    first = manager.show(UNIT, "MainPID")
    time.sleep(6.0)  # nobody records, three times as long as the watchdog waits
    assert (manager.show(UNIT, "NRestarts"), manager.show(UNIT, "MainPID")) == ("0", first)
    hang = manager.home / "hang"
    with desktop.server.recorder("pipedtln_microphone") as app:
        wait_until(lambda: app.count > 0, "the app records")
        hang.touch()
        wait_until(lambda: manager.show(UNIT, "NRestarts") != "0", "the watchdog's restart", 30)
        hang.unlink()
        wait_until(lambda: active(desktop), "the service is back")
        assert manager.show(UNIT, "MainPID") != first
        assert app.recording
    assert "has been busy with one hop" in desktop.log()
    assert json.loads(desktop.expect("status", "--json"))["pid"] != int(first)


def test_stopped_service_leaves_no_silent_microphone(desktop: Desktop) -> None:
    desktop.expect("setup", "--yes")
    own = desktop.own_devices()
    assert own
    with desktop.server.recorder("pipedtln_microphone") as app:
        wait_until(lambda: app.count > 0, "the app hears")
        first = desktop.manager.show(UNIT, "MainPID")
        desktop.manager.systemctl("restart", UNIT)
        wait_until(lambda: active(desktop), "it is back")
        assert desktop.manager.show(UNIT, "MainPID") != first
        count = app.count
        wait_until(lambda: app.count > count + 16_000, "the app's stream outlives a restart")
        assert app.recording
    assert desktop.own_devices() == own
    desktop.manager.systemctl("kill", "--signal=KILL", UNIT)
    desktop.manager.systemctl("stop", UNIT)
    assert desktop.own_devices() == set()
    desktop.manager.systemctl("start", UNIT)
    assert desktop.own_devices() == own
    desktop.manager.systemctl("stop", UNIT)
    assert desktop.own_devices() == set()


def test_a_wrong_config_is_not_tried_for_ever(desktop: Desktop) -> None:
    desktop.expect("setup", "--yes")
    config = desktop.manager.home / ".config" / "pipedtln" / "config.toml"
    config.write_text("modle = 'x'\n")
    desktop.manager.systemctl("restart", UNIT)
    wait_until(
        lambda: desktop.manager.show(UNIT, "ActiveState") == "failed", "the service gives up"
    )
    assert desktop.manager.show(UNIT, "NRestarts") == "0"
    assert "did you mean 'model'?" in desktop.log()
    assert desktop.own_devices() == set(), "what nobody feeds is gone"
    config.unlink()
    desktop.expect("setup", "--yes")
    assert active(desktop)
