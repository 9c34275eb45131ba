"""The demo works on either server, says what it measured and cleans up after itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from pipedtln.demo.conversation import conversation
from pipedtln.processor import SAMPLE_RATE
from tests.live.sound import MOST_SLIP_MS, moved_ms

LEAST_DB, ATTEMPTS = 25, 3
ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "pipedtln", "demo"]


def environment() -> dict[str, str]:
    """Ours, with a user's audio server that the demo must leave alone, as it does not exist."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PULSE_SERVER": "unix:/nowhere/native"}


def started_here(marker: str) -> list[int]:
    """Ids of the processes that have this text in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if marker.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def run(server: str, output: Path) -> tuple[dict[str, Any], float]:
    """What a demo tells, and by how many ms its room moved while the far end talked alone."""
    done = subprocess.run(
        [*DEMO, "--server", server, "--output", str(output), "--json"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    talk = conversation()
    far = next(phase for phase in talk.phases if phase.key == "far")
    alone = slice(round(far.start_s * SAMPLE_RATE), round(far.end_s * SAMPLE_RATE))
    heard = sf.read(result["mic_wav"], dtype="float32")[0][alone]
    moved = moved_ms(heard, talk.far[alone])
    print(
        f"{server}: echo {result['echo_suppression_db']} dB less after 2 s; "
        f"{result['levels_dbfs']}; {result['unprocessed_ms']} ms unprocessed, "
        f"{result['dropped_ms']} ms dropped; the echo moved by {moved:.1f} ms"
    )
    return result, moved


@pytest.mark.parametrize(
    "server",
    [
        pytest.param("pulseaudio", marks=pytest.mark.pulseaudio),
        pytest.param("pipewire", marks=pytest.mark.pipewire),
    ],
)
def test_echo_and_noise_go_and_speech_stays(tmp_path: Path, server: str) -> None:
    """A run with less of it where the server lost sound, so that the echo moved, is repeated."""
    for _ in range(ATTEMPTS):
        result, moved = run(server, tmp_path / "new")
        if result["echo_suppression_db"] >= LEAST_DB or moved <= MOST_SLIP_MS:
            break
    levels = result["levels_dbfs"]
    change = {key: row["out"] - row["mic"] for key, row in levels.items()}
    assert result["server"] == server
    assert result["echo_suppression_db"] >= LEAST_DB
    assert change["noise"] < -10
    assert abs(change["near"]) < 3
    for name in ("mic_wav", "out_wav"):
        info = sf.info(result[name])
        assert (info.samplerate, info.channels) == (16_000, 1)
        assert 25 < info.duration < 35
    assert Path(result["picture"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_and_no_folder(
    tmp_path: Path, number: signal.Signals
) -> None:
    marker = f"DEMO_TEST_MARKER={tmp_path}"
    child = subprocess.Popen(
        [*DEMO, "--output", str(tmp_path / "out")],
        env={**environment(), "DEMO_TEST_MARKER": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    said = []
    for line in child.stderr:
        said.append(line)
        if line.startswith("Talking"):
            break
    else:
        pytest.fail(f"the demo ended by itself: {''.join(said)}")
    running = started_here(marker)
    folders = {Path(f"/proc/{pid}/cwd").resolve() for pid in running if pid != child.pid}
    child.send_signal(number)
    child.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while started_here(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(running) > 4
    assert started_here(marker) == []
    assert not [folder for folder in folders if "pdtln-" in folder.name and folder.exists()]
    assert child.returncode == 128 + number


def test_an_unknown_network_is_told_before_anything_starts(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--output", str(tmp_path), "--model", "no-such-network"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1
    assert "no-such-network" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [*DEMO, "--output", str(tmp_path / "file" / "folder")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--output" in done.stderr
