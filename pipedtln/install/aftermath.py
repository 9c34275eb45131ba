"""What systemd has done after the service has ended: no device may stay that nobody feeds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

from pipedtln.audio.server import connect
from pipedtln.devices.virtual import VirtualDevices
from pipedtln.install.unit import UNIT, queued_job

WRONG_CONFIG = "2"
OTHER_INSTANCE = "3"
"""Exit codes after which systemd does not try again (``RestartPreventExitStatus=``)."""


def will_return(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the service is about to be started again, or another instance runs.

    An app keeps its stream then, which goes on when the service is back.

    Parameters
    ----------
    environment : what systemd gives ``ExecStopPost=``; by default the process's own
    """
    environment = os.environ if environment is None else environment
    job = _job()
    if job == "restart" or environment.get("EXIT_STATUS") == OTHER_INSTANCE:
        return True
    if job == "stop" or environment.get("EXIT_STATUS") == WRONG_CONFIG:
        return False
    return environment.get("SERVICE_RESULT", "success") != "success"


def remove_left_devices() -> bool:
    """Take our virtual devices away, so that apps fall back to the bare microphone.

    Returns
    -------
    Whether there were any.

    Raises
    ------
    ServerError
        If no server answers: then there are none either.
    DeviceError
        If one stays.
    """
    with connect() as pulse:
        return bool(VirtualDevices(pulse).remove())


def _job() -> str | None:
    """What the manager is about to do with the unit: start, stop, restart or nothing."""
    if shutil.which("systemctl") is None:
        return None
    try:
        return queued_job(UNIT)
    except subprocess.TimeoutExpired:
        return None
