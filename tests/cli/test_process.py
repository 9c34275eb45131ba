"""``pipedtln process`` as a user types it, with real networks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner, Result

from pipedtln.cli import main
from pipedtln.demo.conversation import noise, sentences

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mic(tmp_path: Path) -> Path:
    """Speech in noise with an echo of the far end, stereo at 48 kHz."""
    near = np.concatenate(sentences("near")[:2])
    far = np.concatenate(sentences("far")[:2])[: len(near)]
    far = np.pad(far, (0, len(near) - len(far)))
    heard = near + noise(len(near)) + 0.3 * np.roll(far, 480)
    sf.write(tmp_path / "ref.wav", far, 16_000)
    sf.write(tmp_path / "mic.wav", np.repeat(np.repeat(heard, 3)[:, None], 2, axis=1), 48_000)
    return tmp_path / "mic.wav"


def run(*arguments: object) -> Result:
    """Run ``pipedtln process`` in this process."""
    return CliRunner().invoke(main, ["process", *map(str, arguments)])


def test_noise_is_suppressed_and_the_result_told(mic: Path) -> None:
    out = mic.with_name("out.flac")
    result = run(mic, "-o", out)
    print(result.output)
    assert result.exit_code == 0
    assert str(out) in result.output
    assert sf.info(out).frames == sf.info(mic).frames


def test_json_is_one_object(mic: Path) -> None:
    result = run(mic, "-o", mic.with_name("out.wav"), "--json")
    told = json.loads(result.stdout)
    assert told["frames"] == sf.info(mic).frames
    assert told["sample_rate"] == 48_000
    assert told["model"].startswith("ns-")
    assert told["out_dbfs"] < told["mic_dbfs"]


def echo_removed(mic: Path, delay_s: float, *options: str) -> float:
    """How many dB of an echo this late are gone after four seconds."""
    far = np.concatenate(sentences("far"))
    late = round(delay_s * 16_000)
    ref, echo = mic.with_name("far.wav"), mic.with_name("echo.wav")
    sf.write(ref, np.pad(far, (max(0, -late), max(0, late))), 16_000)
    sf.write(echo, 0.3 * np.pad(far, (max(0, late), max(0, -late))), 16_000)
    out = mic.with_name("out.wav")
    told = json.loads(run(echo, "--ref", ref, "-o", out, "--json", *options).stdout)
    before, after = (sf.read(path)[0][64_000:] for path in (echo, out))
    gone = float(10 * np.log10(np.mean(before**2) / (np.mean(after**2) + 1e-12)))
    print(f"{told['model']} {options}: echo after {1000 * delay_s:.0f} ms, {gone:.1f} dB removed")
    assert "aec-" in told["model"]
    return gone


@pytest.mark.parametrize("delay_s", [-0.03, 0.0, 0.03, 0.3, 1.0])
def test_with_a_reference_the_echo_goes_however_late_it_is(mic: Path, delay_s: float) -> None:
    assert echo_removed(mic, delay_s) > 25


def test_no_align_takes_the_reference_as_it_is(mic: Path) -> None:
    assert echo_removed(mic, 0.03, "--no-align") > 25
    assert echo_removed(mic, 1.0, "--no-align") < 6


def test_a_picture_is_drawn(mic: Path) -> None:
    picture = mic.with_name("picture.png")
    result = run(mic, "-o", mic.with_name("o.wav"), "--ref", mic.with_name("ref.wav"),
                 "--plot", picture)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_one_line_says_how_to_get_it(mic: Path) -> None:
    program = (
        "import importlib.abc, importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda n, p=None: None if n == 'matplotlib' else find(n, p)\n"
        "from pipedtln.cli import main\n"
        "main()"
    )
    out = mic.with_name("o.wav")
    done = subprocess.run(
        [sys.executable, "-c", program, "process", mic, "-o", out, "--plot", mic.parent / "p.png"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].endswith("pip install 'pipedtln[plot]'")
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.wav", "-o", "out.wav"], "does not exist"),
        (["mic.wav", "-o", "mic.wav"], "recording itself"),
        (["mic.wav", "-o", "out.xyz"], "ending"),
        (["mic.wav", "-o", "out.wav", "--channel", "2"], "no channel 2"),
        (["mic.wav", "-o", "out.wav", "--plot", "p.doc"], "picture"),
        (["mic.wav", "-o", "out.wav", "--plot", "none/p.png"], "no folder"),
        (["mic.wav", "-o", "p.png", "--plot", "p.png"], "output itself"),
        (["mic.wav", "-o", "out.wav", "--ref", "none.wav"], "none.wav does not exist"),
        (["mic.wav", "-o", "out.wav", "--ref", "ref.wav", "--model", "ns-int8"], "reference"),
    ],
)
@pytest.mark.usefixtures("models")
def test_what_cannot_be_used_is_told_in_one_line_with_exit_code_2(
    mic: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(mic.parent)
    before = sorted(path.name for path in mic.parent.iterdir())
    result = run(*arguments)
    print(result.stderr)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert sorted(path.name for path in mic.parent.iterdir()) == before


def test_an_unknown_network_is_told(mic: Path) -> None:
    result = run(mic, "-o", mic.with_name("out.wav"), "--model", "no-such-network")
    assert result.exit_code == 5
    assert "no-such-network" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("number", "code", "last"),
    [(signal.SIGINT, 130, ["Error: interrupted"]), (signal.SIGTERM, 143, [])],
)
def test_interrupted_run_leaves_nothing(
    tmp_path: Path, number: signal.Signals, code: int, last: list[str]
) -> None:
    sf.write(tmp_path / "mic.wav", np.tile(noise(160_000), 60), 16_000)
    child = subprocess.Popen(
        [sys.executable, "-m", "pipedtln", "process", tmp_path / "mic.wav", "-o",
         tmp_path / "out.wav"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.wav.*.part")):
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(number)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == code
    assert [line for line in errors.splitlines() if "rror" in line] == last
    assert [path.name for path in tmp_path.iterdir()] == ["mic.wav"]
