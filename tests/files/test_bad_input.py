"""Whatever is wrong with the files is told in one line, and no output appears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipedtln.errors import InputError
from pipedtln.files import process_file
from tests.files.processors import Delayed
from tests.files.sounds import babble, write


@pytest.fixture
def mic(tmp_path: Path) -> Path:
    """A good recording of one second."""
    return write(tmp_path / "mic.wav", babble(1.0, 16000), 16000)


def refused(folder: Path, mic: Path, out: str = "out.wav", **options: Any) -> str:
    """The one line that refuses to process, having made sure that nothing was written."""
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(InputError) as caught:
        process_file(mic, folder / out, Delayed(), **options)
    line = str(caught.value)
    print(line)
    assert "\n" not in line
    assert caught.value.exit_code == 2
    assert {p: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before
    return line


def test_a_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path, tmp_path / "none.wav")


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    assert "is a folder" in refused(tmp_path, tmp_path / "folder.wav")


@pytest.mark.parametrize("name", ["text.wav", "text.raw", "text.mp3", "text"])
def test_a_file_that_is_not_sound(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("This is not a recording at all. " * 50)
    assert "not sound" in refused(tmp_path, tmp_path / name)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    assert "is empty" in refused(tmp_path, tmp_path / "empty.wav")


@pytest.mark.parametrize("name", ["none.wav", "none.aiff"])
def test_a_file_without_samples(tmp_path: Path, name: str) -> None:
    mic = write(tmp_path / name, np.zeros(0, np.float32), 16000)
    assert "no samples" in refused(tmp_path, mic)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_located(tmp_path: Path, value: float) -> None:
    sound = babble(2.0, 48000)
    sound[72_000] = value
    mic = write(tmp_path / "mic.wav", sound, 48000, "FLOAT")
    assert "at 1.500 s" in refused(tmp_path, mic)


def test_a_reference_with_such_a_sample(tmp_path: Path, mic: Path) -> None:
    sound = babble(1.0, 48000)
    sound[24_000] = np.nan
    ref = write(tmp_path / "ref.wav", sound, 48000, "FLOAT")
    assert "ref.wav" in refused(tmp_path, mic, ref=ref)


def test_damaged_data(tmp_path: Path) -> None:
    mic = write(tmp_path / "mic.flac", babble(2.0, 16000), 16000)
    content = bytearray(mic.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    mic.write_bytes(content)
    assert "damaged" in refused(tmp_path, mic)


def test_a_short_reference_says_by_how_much_and_what_helps(tmp_path: Path, mic: Path) -> None:
    ref = write(tmp_path / "ref.wav", babble(0.75, 48000), 48000)
    line = refused(tmp_path, mic, ref=ref)
    assert "0.250 s shorter" in line
    assert "--pad-ref" in line


def test_a_reference_short_by_a_recorders_last_block_is_taken(tmp_path: Path, mic: Path) -> None:
    ref = write(tmp_path / "ref.wav", babble(0.91, 48000), 48000)
    assert process_file(mic, tmp_path / "out.wav", Delayed(), ref=ref).frames == 16000


def test_a_short_reference_may_be_followed_by_silence(tmp_path: Path, mic: Path) -> None:
    ref = write(tmp_path / "ref.wav", babble(0.75, 48000), 48000)
    assert process_file(mic, tmp_path / "o.wav", Delayed(), ref=ref, pad_ref=True).frames == 16000


def test_an_output_that_is_the_input(tmp_path: Path, mic: Path) -> None:
    assert "recording itself" in refused(tmp_path, mic, "mic.wav")


def test_an_output_that_is_the_input_by_another_name(tmp_path: Path, mic: Path) -> None:
    (tmp_path / "link.wav").symlink_to(mic)
    assert "recording itself" in refused(tmp_path, mic, "link.wav")


def test_an_output_that_is_the_reference(tmp_path: Path, mic: Path) -> None:
    ref = write(tmp_path / "ref.wav", babble(1.0, 16000), 16000)
    assert "reference itself" in refused(tmp_path, mic, "ref.wav", ref=ref)


def test_an_output_in_a_folder_that_is_not_there(tmp_path: Path, mic: Path) -> None:
    assert "no folder" in refused(tmp_path, mic, "none/out.wav")


def test_an_output_that_is_a_folder(tmp_path: Path, mic: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    assert "is a folder" in refused(tmp_path, mic, "folder.wav")


def test_an_output_where_no_file_can_be_made(mic: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        process_file(mic, Path("/proc/out.wav"), Delayed())


@pytest.mark.parametrize("name", ["out.xyz", "out", "out.raw"])
def test_an_ending_that_no_format_goes_by(tmp_path: Path, mic: Path, name: str) -> None:
    assert "ending" in refused(tmp_path, mic, name)


def test_a_format_that_cannot_hold_the_rate(tmp_path: Path) -> None:
    mic = write(tmp_path / "mic.wav", babble(0.5, 96000), 96000)
    assert "96000 Hz" in refused(tmp_path, mic, "out.mp3")


@pytest.mark.parametrize("channel", [2, -3, 99])
def test_a_channel_that_is_not_there(tmp_path: Path, channel: int) -> None:
    mic = write(tmp_path / "mic.wav", np.zeros((1000, 2), np.float32), 16000)
    assert "channels 0 to 1" in refused(tmp_path, mic, channel=channel)


@pytest.mark.parametrize("strength", [-1, 101])
def test_a_strength_out_of_range(tmp_path: Path, mic: Path, strength: int) -> None:
    assert "0 to 100" in refused(tmp_path, mic, strength=strength)
