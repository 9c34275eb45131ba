"""What scripts/demo and scripts/test prepare, and what they say where they cannot."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def shell(program: str) -> subprocess.CompletedProcess[str]:
    """Run bash with scripts/lib.sh at hand."""
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n. scripts/lib.sh\n{program}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_elsewhere_than_on_debian_the_missing_packages_are_named_and_all_stops() -> None:
    done = shell(
        "is_debian() { false; }\n"
        "need there=sh missing=no-such-program library= gone=no-such-either\n"
        "echo reached"
    )
    print(done.stderr)
    assert done.returncode == 1
    assert "missing (no-such-program), gone (no-such-either)" in done.stderr
    assert "there" not in done.stderr
    assert done.stdout == ""


def test_elsewhere_than_on_debian_all_goes_on_when_nothing_is_missing() -> None:
    done = shell("is_debian() { false; }\nneed there=sh library=\necho reached")
    assert (done.returncode, done.stdout) == (0, "reached\n")


def test_nothing_is_installed_when_all_packages_are_there() -> None:
    done = shell(
        'is_debian() { true; }\ninstalled() { true; }\nas_root() { echo "$@"; }\n'
        "need one= two=sh\necho reached"
    )
    assert (done.returncode, done.stdout) == (0, "reached\n")


def test_packages_are_installed_without_removing_any_and_without_starting_daemons() -> None:
    done = shell(
        'is_debian() { true; }\ninstalled() { [ $1 = there ]; }\nas_root() { echo "$@"; cat; }\n'
        "need there= missing=sh < /dev/null"
    )
    calls = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    install = next(call for call in calls if "apt-get install" in call)
    assert install.endswith(" missing")
    assert "--no-remove" in install
    assert "there" not in install
    if not Path("/usr/sbin/policy-rc.d").exists():
        assert "rm -f /usr/sbin/policy-rc.d" in calls


def test_a_sound_server_that_is_installed_does_not_take_over_the_desktop() -> None:
    done = shell(
        'is_debian() { true; }\ninstalled() { false; }\nas_root() { echo "$@"; cat; }\n'
        "systemctl() { true; }\nneed pulseaudio= wireplumber= flite= < /dev/null"
    )
    disable = next(line for line in done.stderr.splitlines() if line.startswith("systemctl"))
    assert disable == (
        "systemctl --global disable pulseaudio.service pulseaudio.socket wireplumber.service"
    )


def test_the_environment_is_made_once(tmp_path: Path) -> None:
    program = (
        f"venv='{tmp_path}/venv'; python=$venv/bin/python\n"
        "need_venv demo --help\necho first; need_venv demo --help 2>&1\necho second\n"
        "need_venv demo --help --quiet 2>&1 | sed -n 1p"
    )
    done = shell(program)
    assert done.returncode == 0, done.stderr
    assert "Making a virtual environment" in done.stderr
    first, second, third = done.stdout.splitlines()
    assert (first, second) == ("first", "second")
    assert third.startswith("Installing pipedtln")


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text(
        '#!/bin/sh\ncase "$*" in *version_info*) exit 1;; -V) echo Python 3.9.2;; esac\n'
    )
    old.chmod(0o755)
    done = shell(
        f"venv='{tmp_path}/venv'; python=$venv/bin/python\nPYTHON='{old}' need_venv demo x"
    )
    print(done.stderr)
    assert done.returncode == 1
    assert "Python 3.9.2; pipedtln needs Python 3.10" in done.stderr
