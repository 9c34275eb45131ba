"""Which cards serve where there is ALSA alone, and whether an app records snd-aloop."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipedtln.audio.cards import Card
from pipedtln.devices.cards import check_no_loop, is_recorded
from pipedtln.errors import DeviceError

LOOPBACK = Card(3, "Loopback: PCM (hw:2,0)", 32, 32, 48_000)
USB = Card(4, "USB Audio: - (hw:1,0)", 6, 2, 16_000)


def asound(folder: Path, *capture: str, name: str = "Loopback", device: int = 1) -> Path:
    """What the kernel tells of card 2, with these states of its capture substreams."""
    card = folder / "card2"
    for i, state in enumerate(capture):
        sub = card / f"pcm{device}c" / f"sub{i}"
        sub.mkdir(parents=True)
        (sub / "status").write_text(state + "\n")
    card.mkdir(exist_ok=True)
    (card / "id").write_text(name + "\n")
    return folder


def test_loopback_tells_whether_its_other_end_is_open(tmp_path: Path) -> None:
    running = "state: RUNNING\nowner_pid   : 1234"
    assert is_recorded(LOOPBACK, asound(tmp_path / "a", "closed", "closed")) is False
    assert is_recorded(LOOPBACK, asound(tmp_path / "b", "closed", running)) is True
    assert is_recorded(LOOPBACK, asound(tmp_path / "c", running, name="Loopback_1")) is True
    far = Card(5, "Loopback: PCM (hw:2,1)", 32, 32, 48_000)
    assert is_recorded(far, asound(tmp_path / "d", running, device=0)) is True


def test_other_cards_tell_nothing(tmp_path: Path) -> None:
    assert is_recorded(LOOPBACK, asound(tmp_path / "a", "closed", name="Device")) is None
    assert is_recorded(USB, tmp_path) is None
    assert is_recorded(Card(0, "pulse", 32, 32, 44_100), tmp_path) is None


def test_reading_the_loopback_that_is_written_is_refused() -> None:
    other_end = Card(9, "Loopback: PCM (hw:2,1)", 32, 32, 48_000)
    with pytest.raises(DeviceError, match="would make a loop"):
        check_no_loop(other_end, LOOPBACK)
    check_no_loop(USB, LOOPBACK)
    check_no_loop(Card(7, "Loopback: PCM (hw:5,1)", 32, 32, 48_000), LOOPBACK)
