"""The demo runs the bridge as its unit does."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.priorities import as_on_a_desktop
from pipedtln.demo.bridge import running_bridge
from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from tests.service.rtkit import may_have_priority

UNIT = Path(__file__).parents[2] / "systemd-user" / "pipedtln.service"


def scheduled(pid: int) -> set[tuple[int, int]]:
    """Policy and niceness of a process's threads; one of them may end meanwhile."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            policy = os.sched_getscheduler(int(task.name)) & ~os.SCHED_RESET_ON_FORK
            found.add((policy, os.getpriority(os.PRIO_PROCESS, int(task.name))))
    return found


def units_nice() -> int:
    """What the unit asks for."""
    (told,) = (line for line in UNIT.read_text().splitlines() if line.startswith("Nice="))
    return int(told.removeprefix("Nice="))


def may_be_nice(nice: int) -> bool:
    """Whether this user may have it."""
    give = f"import os; os.setpriority(os.PRIO_PROCESS, 0, {nice})"
    done = subprocess.run([sys.executable, "-c", give], check=False, stderr=subprocess.DEVNULL)
    return done.returncode == 0


def test_bridge_goes_before_other_programs_as_the_unit_asks(
    server: PrivateServer, tmp_path: Path
) -> None:
    if not may_be_nice(units_nice()):
        pytest.skip("this user may not go before others")
    with running_bridge(server, "auto", tmp_path / "log", lambda *_: None, "--bypass") as ask:
        nices = {nice for _, nice in scheduled(ask()["pid"])}
    assert nices == {min(units_nice(), os.getpriority(os.PRIO_PROCESS, 0))}


def test_benchmarks_have_real_time_priority_where_the_kernel_gives_it(
    server: PrivateServer, tmp_path: Path
) -> None:
    if not may_have_priority():
        pytest.skip("the kernel gives this user no real-time priority")
    before, log = dict(os.environ), tmp_path / "log"
    with (
        as_on_a_desktop(),
        running_bridge(server, "auto", log, lambda *_: None, "--bypass") as ask,
        server.recorder("pipedtln_microphone"),
    ):
        pid = int(ask()["pid"])
        assert wait_until(lambda: os.SCHED_RR in {policy for policy, _ in scheduled(pid)}, 10.0)
    assert dict(os.environ) == before
    assert "has real-time priority" in log.read_text()
