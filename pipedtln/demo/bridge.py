"""``pipedtln run`` as a child of the demo, on a private server."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pipedtln
from pipedtln.demo.processes import Processes, wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.dtln.store import FOLDER_VARIABLE, Store
from pipedtln.errors import ServiceError

MICROPHONE = "pipedtln_microphone"
SPEAKER = "pipedtln_speaker"

_ROLE = "bridge"
_NICE = -11
"""What the unit asks for."""
_START_SECONDS = 40.0
_READY = ("idle", "running", "bypassed")

Waiting = Callable[[float, float], None]
"""Called while the bridge starts, with the seconds it took and those it may take."""


Ask = Callable[[], dict[str, Any]]


@contextmanager
def running_bridge(
    private: PrivateServer, model: str, log: Path, waiting: Waiting, *options: str
) -> Iterator[Ask]:
    """Run the bridge from when it is ready to the end of the context, as the unit would run it:
    before other programs, where this user may have that.

    Parameters
    ----------
    private : the server that it works on
    model : the network that it runs; the user's weights are at hand
    log : where its log is left
    waiting : called several times per second until it is ready
    options : more of ``pipedtln run``

    Yields
    ------
    a function that asks what ``pipedtln status --json`` says of it now

    Raises
    ------
    ServiceError
        If it ends by itself, also later, or is not ready within 40 s.
    """
    env = _environment(private)
    children = Processes(private.folder)
    try:
        command = [sys.executable, "-m", "pipedtln", "run", "--model", model, *options]
        children.start(_ROLE, command, env)
        if (pid := children.pid(_ROLE)) is not None:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, pid, min(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))
        status: dict[str, Any] = {}
        started = time.monotonic()

        def settled() -> bool:
            waiting(time.monotonic() - started, _START_SECONDS)
            if children.pid(_ROLE) is None:
                return True
            if _has_devices(private):
                status.update(_status(env))
            return status.get("state") in _READY

        reached = wait_until(settled, _START_SECONDS, step=0.1)
        _expect_alive(children)
        if not reached:
            state = status.get("state", "silent")
            raise ServiceError(
                f"the bridge is {state} after {_START_SECONDS:.0f} s instead of ready: "
                f"{children.log_tail(_ROLE)}"
            )
        yield lambda: _status(env)
        _expect_alive(children)
    finally:
        children.close()
        with contextlib.suppress(OSError):
            shutil.copyfile(children.log(_ROLE), log)


def _expect_alive(children: Processes) -> None:
    if children.pid(_ROLE) is None:
        raise ServiceError(f"the bridge ended by itself: {children.log_tail(_ROLE)}")


def _environment(private: PrivateServer) -> dict[str, str]:
    """The private server's environment, in which this package and the user's weights are found."""
    env = private.env
    # The child starts elsewhere, where a checkout that is not installed has no name.
    package = str(Path(pipedtln.__file__).resolve().parent.parent)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (package, env.get("PYTHONPATH"))))
    weights = Store.from_environment()
    if weights.folder is not None:
        env[FOLDER_VARIABLE] = str(weights.folder.resolve())
    cache = private.data_home / "pipedtln" / "models"
    if weights.cache.is_dir() and not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.symlink_to(weights.cache.resolve())
    return env


def _has_devices(private: PrivateServer) -> bool:
    with private.connect() as pulse:
        sources = {source.name for source in pulse.source_list()}
        return MICROPHONE in sources and SPEAKER in {sink.name for sink in pulse.sink_list()}


def _status(env: dict[str, str]) -> dict[str, Any]:
    """What the bridge says of itself; empty while it says nothing."""
    command = [sys.executable, "-m", "pipedtln", "status", "--json"]
    try:
        asked = subprocess.run(command, env=env, capture_output=True, check=False, timeout=20.0)
        status = json.loads(asked.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return {}
    return status if isinstance(status, dict) else {}
