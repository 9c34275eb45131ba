"""The devices used last are remembered, and a bad file costs nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipedtln.service.memory import DeviceMemory, LastUsed


def test_devices_are_remembered_across_restarts(tmp_path: Path) -> None:
    path = tmp_path / "state" / "devices.json"
    memory = DeviceMemory(path)
    assert memory.last == LastUsed()
    memory.remember("mic", None)
    memory.remember(None, "speaker")
    assert DeviceMemory(path).last == LastUsed("mic", "speaker")
    memory.forget()
    assert DeviceMemory(path).last == LastUsed()
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"mic": 3, "output": {}}', "\0"])
def test_bad_file_is_ignored_and_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "devices.json"
    path.write_text(text)
    memory = DeviceMemory(path)
    assert memory.last == LastUsed()
    memory.remember("mic", "speaker")
    assert DeviceMemory(path).last == LastUsed("mic", "speaker")


def test_folder_that_cannot_be_written_costs_only_the_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = DeviceMemory(Path("/proc/pipedtln/devices.json"))
    memory.remember("mic", "speaker")
    assert memory.last == LastUsed("mic", "speaker")
    assert "cannot remember" in caplog.text
