"""The unit file names this installation, and its settings leave a service working."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipedtln.install.unit import UNIT, enablement_path, render, unit_path
from pipedtln.resources import resource
from tests.install.conftest import UserManager, wait_until

pytestmark = pytest.mark.timeout(120)

STAND_IN = textwrap.dedent(
    """
    import ctypes, os, signal, socket, sys, threading, time
    from pathlib import Path

    import numpy
    from pipedtln import systemd
    from pipedtln.atomic import write_atomic

    # libpulse's callbacks are made by ctypes: memory that is written, then executed.
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda a, b: 0)
    ctypes.CDLL(None).qsort((ctypes.c_int * 4)(4, 3, 2, 1), 4, 4, compare)
    numpy.fft.rfft(numpy.zeros(512, numpy.float32))
    threading.Thread(target=time.sleep, args=(0,)).start()
    # The session bus.
    bus = socket.socket(socket.AF_UNIX)
    bus.connect(os.environ["XDG_RUNTIME_DIR"] + "/bus")
    write_atomic(Path.home() / ".config" / "pipedtln" / "config.toml", b"")
    try:
        socket.socket(socket.AF_INET)
    except OSError as error:
        inet = "refused"
    else:
        inet = "allowed"
    (Path.home() / "seen").write_text(inet + " " + str(systemd.watchdog_interval()))
    signal.signal(signal.SIGTERM, lambda *_: (systemd.stopping(), sys.exit(0)))
    systemd.ready("stand-in works")
    while True:
        if not (Path.home() / "hang").exists():
            systemd.alive()
        time.sleep(0.1)
    """
)


def install(manager: UserManager, *, drop_in: str = "") -> None:
    """Put the shipped unit into the manager, with a stand-in for pipedtln run."""
    script = manager.home / "stand-in.py"
    script.write_text(STAND_IN)
    text = render({}).replace("-m pipedtln run", str(script))
    root = Path(__file__).resolve().parents[2]
    text = text.replace("[Service]\n", f"[Service]\nEnvironment=PYTHONPATH={root}\n")
    path = manager.home / ".config" / "systemd" / "user" / UNIT
    path.parent.mkdir(parents=True)
    path.write_text(text)
    if drop_in:
        folder = path.parent / f"{UNIT}.d"
        folder.mkdir()
        (folder / "test.conf").write_text(drop_in)
    assert manager.systemctl("daemon-reload").returncode == 0


def test_unit_lies_where_the_user_manager_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert unit_path() == tmp_path / "systemd/user/pipedtln.service"
    assert enablement_path() == tmp_path / "systemd/user/default.target.wants/pipedtln.service"


def test_rendered_unit_starts_this_interpreter_by_its_full_path() -> None:
    shipped = resource("systemd-user", UNIT).read_text().splitlines()
    rendered = render({}).splitlines()
    assert shipped.count("ExecStart=pipedtln run") == 1
    assert f'ExecStart="{Path(sys.executable).absolute()}" -m pipedtln run' in rendered
    new = [line for line in rendered if line not in shipped]
    after = f'ExecStopPost=-"{Path(sys.executable).absolute()}" -m pipedtln teardown --after-stop'
    assert after in new
    ours = ("ExecStart=", "ExecStopPost=", 'Environment="PYTHONPATH=')
    assert all(line.startswith(ours) for line in new)
    assert set(shipped) - set(rendered) == {
        "ExecStart=pipedtln run",
        "ExecStopPost=-pipedtln teardown --after-stop",
    }


def test_folder_of_models_given_by_environment_goes_into_the_unit() -> None:
    assert "PIPEDTLN_MODELS_DIR" not in render({})
    text = render({"PIPEDTLN_MODELS_DIR": '/odd "folder"/50%'})
    assert r'Environment="PIPEDTLN_MODELS_DIR=/odd \"folder\"/50%%"' in text


@pytest.mark.systemd
def test_systemd_finds_no_fault_in_the_unit(manager: UserManager) -> None:
    install(manager)
    path = manager.home / ".config" / "systemd" / "user" / UNIT
    done = manager.run("systemd-analyze", "--user", "verify", str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.systemd
def test_hardened_service_reaches_ready_and_stops_cleanly(manager: UserManager) -> None:
    install(manager)
    done = manager.systemctl("start", UNIT)
    assert done.returncode == 0, manager.systemctl("status", UNIT).stdout + manager.log()
    assert manager.show(UNIT, "StatusText") == "stand-in works"
    assert (manager.home / "seen").read_text() == "refused 7.5"
    assert manager.systemctl("stop", UNIT).returncode == 0
    assert manager.show(UNIT, "Result") == "success"


@pytest.mark.systemd
def test_a_service_that_hangs_is_restarted(manager: UserManager) -> None:
    install(manager, drop_in="[Service]\nWatchdogSec=1\nRestartSec=100ms\nTimeoutAbortSec=1\n")
    assert manager.systemctl("start", UNIT).returncode == 0
    first = manager.show(UNIT, "MainPID")
    (manager.home / "hang").touch()
    wait_until(lambda: manager.show(UNIT, "NRestarts") != "0", "the watchdog's restart")
    (manager.home / "hang").unlink()
    wait_until(lambda: manager.show(UNIT, "ActiveState") == "active", "the service is back")
    assert manager.show(UNIT, "MainPID") != first


@pytest.mark.systemd
def test_exposure_by_systemds_own_measure_is_printed_and_bounded(manager: UserManager) -> None:
    install(manager)
    done = manager.run("systemd-analyze", "--user", "--no-pager", "security", UNIT)
    last = done.stdout.strip().splitlines()[-1]
    print(last)
    level = float(last.split(":")[1].split()[0])
    bare = subprocess.run(
        ["systemd-analyze", "--user", "--no-pager", "security", "dbus.service"],
        env=manager.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    print("dbus.service for comparison:", bare.stdout.strip().splitlines()[-1:])
    assert level < 8.0


def test_only_the_unit_for_bare_cards_may_make_callbacks_as_portaudio_does() -> None:
    assert "MemoryDenyWriteExecute=yes" in render({})
    without = render({}, on_cards=True)
    assert "MemoryDenyWriteExecute" not in without
    assert "NoNewPrivileges=yes" in without
