"""The output takes the form its name asks for, and is whole or not there at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from pipedtln.errors import InputError
from pipedtln.files import process_file
from pipedtln.processor import Block
from tests.files.processors import Delayed
from tests.files.sounds import babble, write
from tests.interrupt import interrupted_everywhere


@pytest.mark.parametrize(
    ("name", "subtype_in", "format_out", "subtype_out"),
    [
        ("a.wav", "PCM_24", "WAV", "PCM_24"),
        ("a.WAV", "FLOAT", "WAV", "FLOAT"),
        ("a.wav", "IMA_ADPCM", "WAV", "PCM_16"),
        ("a.flac", "PCM_16", "FLAC", "PCM_16"),
        ("a.flac", "FLOAT", "FLAC", "PCM_24"),
        ("a.ogg", "PCM_16", "OGG", "VORBIS"),
        ("a.opus", "PCM_16", "OGG", "OPUS"),
        ("a.aiff", "PCM_16", "AIFF", "PCM_16"),
        ("a.mp3", "PCM_16", "MP3", "MPEG_LAYER_III"),
    ],
)
def test_the_ending_decides_the_format_and_the_coding_stays_where_it_can(
    tmp_path: Path, name: str, subtype_in: str, format_out: str, subtype_out: str
) -> None:
    mic = write(tmp_path / "mic.wav", babble(1.0, 48000), 48000, subtype_in)
    process_file(mic, tmp_path / name, Delayed())
    info = sf.info(tmp_path / name)
    assert (info.format, info.subtype) == (format_out, subtype_out)
    assert (info.samplerate, info.channels) == (48000, 1)
    assert info.frames == sf.info(mic).frames


@pytest.mark.parametrize("name", ["mic.flac", "mic.ogg", "mic.mp3", "mic.aiff", "mic.au"])
def test_any_format_can_be_read(tmp_path: Path, name: str) -> None:
    mic = write(tmp_path / name, babble(0.5, 44100), 44100)
    process_file(mic, tmp_path / "out.wav", Delayed())
    assert sf.info(tmp_path / "out.wav").frames == sf.info(mic).frames


class _Interrupted(Delayed):
    """Ctrl-C in the middle of the work."""

    def mixed(self, mic: Block, ref: Block) -> Block:
        """Raise what Ctrl-C raises."""
        raise KeyboardInterrupt


def test_an_interrupted_run_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    mic = write(tmp_path / "mic.wav", babble(0.2, 16000), 16000)
    out = write(tmp_path / "out.wav", babble(0.1, 8000, seed=9), 8000)
    before = out.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        process_file(mic, out, _Interrupted())
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mic.wav", "out.wav"]


def test_ctrl_c_at_any_line_of_the_writer_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    mic = write(tmp_path / "mic.wav", babble(0.02, 16000), 16000)
    out = tmp_path / "out.wav"
    lines = 0
    for lines in interrupted_everywhere(
        "pipedtln.files.write", lambda: process_file(mic, out, Delayed()), besides="_remove"
    ):
        names = {path.name for path in tmp_path.iterdir()}
        assert names - {"out.wav"} == {"mic.wav"}, f"interrupted at line {lines}"
        if "out.wav" in names:
            assert sf.info(out).frames == sf.info(mic).frames
            out.unlink()
    assert lines > 20


def test_ctrl_c_in_a_terminal_leaves_nothing_behind(tmp_path: Path) -> None:
    mic = write(tmp_path / "mic.wav", babble(60.0, 16000), 16000)
    program = (
        "import sys, time; from pathlib import Path; from pipedtln.files import process_file;"
        "from tests.files.processors import Delayed\n"
        "class Slow(Delayed):\n"
        "    def mixed(self, mic, ref):\n"
        "        time.sleep(0.01)\n"
        "        return mic\n"
        "process_file(Path(sys.argv[1]), Path(sys.argv[2]), Slow())"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(mic), str(tmp_path / "out.wav")],
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob(".out.wav.*.part")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=20)
    assert b"KeyboardInterrupt" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["mic.wav"]


@pytest.mark.parametrize("room", [10, 50_000])
def test_a_disk_that_fills_up_is_told_and_left_as_it_was(tmp_path: Path, room: int) -> None:
    mic = write(tmp_path / "mic.wav", babble(5.0, 16000), 16000)
    program = (
        "import resource, sys; from pathlib import Path; from pipedtln.files import process_file;"
        "from tests.files.processors import Delayed\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        "process_file(Path(sys.argv[1]), Path(sys.argv[2]), Delayed())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(mic), str(tmp_path / "out.wav")],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert b"InputError" in done.stderr.splitlines()[-1]
    assert b"disk full" in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["mic.wav"]


def test_an_existing_output_keeps_its_permissions_and_a_link_stays_a_link(tmp_path: Path) -> None:
    mic = write(tmp_path / "mic.wav", babble(0.2, 16000), 16000)
    target = write(tmp_path / "target.wav", babble(0.1, 16000), 16000)
    target.chmod(0o640)
    link = tmp_path / "link.wav"
    link.symlink_to(target)
    process_file(mic, link, Delayed())
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    assert sf.info(target).frames == sf.info(mic).frames


def test_a_new_output_gets_the_permissions_that_the_umask_gives(tmp_path: Path) -> None:
    mic = write(tmp_path / "mic.wav", babble(0.2, 16000), 16000)
    previous = os.umask(0o027)
    try:
        process_file(mic, tmp_path / "out.wav", Delayed())
    finally:
        os.umask(previous)
    assert (tmp_path / "out.wav").stat().st_mode & 0o777 == 0o640


def test_a_device_is_never_replaced(tmp_path: Path) -> None:
    mic = write(tmp_path / "mic.wav", np.zeros(16000, np.float32), 16000)
    link = tmp_path / "null.wav"
    link.symlink_to("/dev/null")
    with pytest.raises(InputError, match="not a plain file"):
        process_file(mic, link, Delayed())
    assert Path("/dev/null").is_char_device()
