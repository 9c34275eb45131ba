"""``pipedtln record`` says at once when there is nothing to record, and writes what it promises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipedtln.errors import DeviceError
from tests.control.bridge import QuietBridge
from tests.control.serving import Serving
from tests.control.session import SessionBus


class Studio(QuietBridge):
    """Writes silence where the real one writes sound."""

    async def record(self, seconds: float, path: str) -> list[str]:
        if seconds == 3:
            raise DeviceError("no sound came through; open an app first")
        folder = Path(path)
        folder.mkdir(parents=True)
        files = [folder / f"{name}.wav" for name in ("mic", "reference", "clean")]
        for file in files:
            soundfile.write(file, np.zeros(1600, dtype=np.float32), 16_000)
        return [str(file) for file in files]


@pytest.fixture
def bus() -> Iterator[SessionBus]:
    """Start a private session bus."""
    with SessionBus() as session:
        yield session


def test_files_status_and_picture_lie_in_one_folder(bus: SessionBus) -> None:
    folder = bus.folder / "report"
    with Serving(Studio(), bus.address):
        said = bus.pipedtln("record", "--seconds", "1", "-o", str(folder), "--json")
    assert said.returncode == 0, said.stderr
    files = [Path(name) for name in json.loads(said.stdout)["files"]]
    assert {path.name for path in files} >= {
        "mic.wav", "reference.wav", "clean.wav", "status.json",
    }  # fmt: skip
    assert all(path.parent == folder and path.stat().st_size for path in files)
    assert json.loads((folder / "status.json").read_text())["model"] == "quiet-256"
    pictures = [path for path in files if path.suffix == ".png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_without_sound_it_says_what_is_missing(bus: SessionBus) -> None:
    with Serving(Studio(), bus.address):
        said = bus.pipedtln("record", "--seconds", "3", "-o", str(bus.folder / "x"))
    assert said.returncode in {4, 6, 7}
    assert said.stderr.splitlines()[-1].startswith("Error: ")
    assert not (bus.folder / "x").exists()


def test_a_service_that_cannot_record_says_so(bus: SessionBus) -> None:
    with Serving(QuietBridge(), bus.address):
        said = bus.pipedtln("record", "--seconds", "1", "-o", str(bus.folder / "x"))
    assert said.returncode == 3
    assert "does not offer recording" in said.stderr


def test_without_a_service_nothing_is_begun(bus: SessionBus) -> None:
    said = bus.pipedtln("record", "--seconds", "600")
    assert said.returncode == 3
    assert "systemctl --user start pipedtln" in said.stderr
