"""``pipedtln setup`` and ``teardown`` speak plainly, and refuse what they cannot do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipedtln.demo.servers import PrivateServer

ROOT = str(Path(__file__).resolve().parents[2])


def pipedtln(
    server: PrivateServer, models: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipedtln", *arguments],
        env={**server.env, "PYTHONPATH": ROOT, "PIPEDTLN_MODELS_DIR": str(models)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_step_is_told_before_and_after_without_colours(
    pulseaudio: PrivateServer, models: Path
) -> None:
    done = pipedtln(pulseaudio, models, "setup", "--no-service")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    at = lines.index("Make DTLN Microphone and DTLN Speaker ...")
    assert lines[at + 1] == "  made"
    assert "It is silent until the service runs: pipedtln run" in lines

    done = pipedtln(pulseaudio, models, "teardown")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    at = lines.index("Remove DTLN Microphone and DTLN Speaker ...")
    assert lines[at + 1] == "  removed"


def test_a_dry_run_tells_and_does_nothing(pulseaudio: PrivateServer, models: Path) -> None:
    before = sorted(pulseaudio.home.rglob("*"))
    done = pipedtln(pulseaudio, models, "setup", "--dry-run", "--no-service")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Setup would:\n  - use PulseAudio")
    after = sorted(pulseaudio.home.rglob("*"))
    assert [path for path in after if "pulse" not in path.parts] == [
        path for path in before if "pulse" not in path.parts
    ]


def test_a_microphone_that_is_not_there_is_said(pulseaudio: PrivateServer, models: Path) -> None:
    done = pipedtln(pulseaudio, models, "setup", "--no-service", "--mic", "usb_mic")
    assert done.returncode == 0, done.stderr
    assert "mic = 'usb_mic' is not there now; the service waits for it" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mic", "pipedtln_microphone"], "would feed pipedtln its own sound"),
        (["--reference", "channel:last"], "is no channel"),
        (["--model", "best"], "no model named 'best'"),
    ],
)
def test_wrong_options_are_one_line_and_nothing_is_done(
    pulseaudio: PrivateServer, models: Path, arguments: list[str], message: str
) -> None:
    done = pipedtln(pulseaudio, models, "setup", "--no-service", *arguments)
    assert done.returncode in (2, 5)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (pulseaudio.config_home / "pipedtln").exists()


def test_teardown_without_setup_says_so(pulseaudio: PrivateServer, models: Path) -> None:
    done = pipedtln(pulseaudio, models, "teardown")
    assert done.returncode == 0
    assert done.stdout.endswith("There was nothing to undo.\n")
