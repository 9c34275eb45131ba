"""The user service: its unit file for this installation, and the manager that runs it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import platformdirs

import pipedtln
from pipedtln.errors import InstallError
from pipedtln.resources import resource

UNIT = "pipedtln.service"
_WANTED_BY = "default.target"
_PLACEHOLDER = "ExecStart=pipedtln run\n"
_AFTERWARDS = "ExecStopPost=-pipedtln "


def unit_path() -> Path:
    """``$XDG_CONFIG_HOME/systemd/user/pipedtln.service``."""
    return Path(platformdirs.user_config_path()) / "systemd" / "user" / UNIT


def enablement_path() -> Path:
    """The link that makes the user's manager start the service at login."""
    return unit_path().parent / f"{_WANTED_BY}.wants" / UNIT


def render(environment: Mapping[str, str] | None = None, *, on_cards: bool = False) -> str:
    """The unit file with the full path of the Python that runs now.

    Parameters
    ----------
    environment : by default the process's own; a PIPEDTLN_MODELS_DIR in it goes into the unit
    on_cards : bare cards are bridged, whose library writes its callbacks into executable memory

    Raises
    ------
    PipedtlnError
        If this installation lacks the shipped unit.
    """
    environment = os.environ if environment is None else environment
    shipped = resource("systemd-user", UNIT).read_text(encoding="utf-8")
    if on_cards:
        shipped = shipped.replace("MemoryDenyWriteExecute=yes\n", "")
    python, *words = command()
    lines = [f"ExecStart={_quote(python, '$')} {' '.join(words)} run"]
    path = python_path()
    if path is not None:
        lines.append(f"Environment={_quote(f'PYTHONPATH={path}')}")
    models = environment.get("PIPEDTLN_MODELS_DIR")
    if models:
        lines.append(f"Environment={_quote(f'PIPEDTLN_MODELS_DIR={Path(models).absolute()}')}")
    shipped = shipped.replace(
        _AFTERWARDS, f"ExecStopPost=-{_quote(python, '$')} {' '.join(words)} "
    )
    return shipped.replace(_PLACEHOLDER, "\n".join(lines) + "\n")


def command() -> list[str]:
    """The words that start this installation's pipedtln from anywhere."""
    # Not the resolved interpreter: a virtual environment is known by the path of its link.
    return [str(Path(sys.executable).absolute()), "-m", "pipedtln"]


def python_path() -> Path | None:
    """What these words need as PYTHONPATH; None where the package is installed."""
    return None if _installed() else _source_folder()


def manager_runs() -> bool:
    """Whether a systemd user manager answers."""
    if shutil.which("systemctl") is None:
        return False
    try:
        return _run("show-environment", timeout=10).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def systemctl(*arguments: str) -> None:
    """Run ``systemctl --user``.

    Raises
    ------
    InstallError
        With what systemctl said.
    """
    command = " ".join(["systemctl --user", *arguments])
    try:
        done = _run(*arguments, timeout=120)
    except subprocess.TimeoutExpired:
        raise InstallError(
            f"'{command}' does not come back; see: journalctl --user -n 50"
        ) from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise InstallError(f"'{command}' failed: {said}")


def is_active() -> bool:
    """Whether the service runs."""
    return _run("is-active", "--quiet", UNIT, timeout=10).returncode == 0


def queued_job(unit: str) -> str | None:
    """Type of the job that the manager has for a unit, such as ``restart``; None without one.

    Raises
    ------
    subprocess.TimeoutExpired
        If the manager does not answer.
    """
    # Columns: number, unit, type, state.
    told = _run("list-jobs", "--no-legend", "--plain", unit, timeout=5).stdout.split()
    return told[2] if len(told) >= 3 else None


def _run(*arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemctl", "--user", "--no-pager", "--no-ask-password", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def _source_folder() -> Path:
    return Path(pipedtln.__file__).resolve().parent.parent


def _installed() -> bool:
    """Whether the interpreter finds the package by itself, from any folder."""
    try:
        importlib.metadata.distribution("pipedtln")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _quote(text: str, also_double: str = "") -> str:
    """One word of a unit file: in quotes, with systemd's own specifiers taken literally."""
    for character in "%" + also_double:
        text = text.replace(character, 2 * character)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
