"""The demo's conversation holds what its table promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from pipedtln.demo.conversation import Conversation, conversation, noise, sentences
from pipedtln.demo.measure import cut_to, measure, speech_is_lost

ROOT = Path(__file__).parents[2]
AUDIO = ROOT / "pipedtln" / "demo" / "audio"


@pytest.fixture(scope="module")
def talk() -> Conversation:
    """The conversation as it is played."""
    return conversation()


def test_the_voices_are_small() -> None:
    total = sum(path.stat().st_size for path in AUDIO.iterdir())
    print(f"voices: {total / 1000:.0f} kB")
    assert total < 400_000


def test_the_voices_can_be_made_again(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "make-speech"), str(tmp_path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for name in ("near.flac", "far.flac"):
        again, committed = (sf.read(folder / name)[0] for folder in (tmp_path, AUDIO))
        np.testing.assert_allclose(again, committed, atol=1e-3)


@pytest.mark.parametrize("talker", ["near", "far"])
def test_each_talker_says_four_sentences_with_a_pause_after_each(talker: str) -> None:
    said = sentences(talker)
    assert len(said) == 4
    for sentence in said:
        assert not sentence[-4800:].any()
        assert 1.0 < len(sentence) / 16_000 < 5.0


@pytest.mark.parametrize(
    ("key", "near", "far"),
    [
        ("noise", True, False),
        ("speech_in_noise", True, False),
        ("near", True, False),
        ("far", False, True),
        ("both", True, True),
    ],
)
def test_in_each_phase_only_those_sound_who_should(
    talk: Conversation, key: str, near: bool, far: bool
) -> None:
    phase = next(phase for phase in talk.phases if phase.key == key)
    span = slice(round(phase.start_s * 16_000), round(phase.end_s * 16_000))
    assert (np.abs(talk.near[span]).max() > 0.01) == near
    assert (np.abs(talk.far[span]).max() > 0.01) == far


def test_nothing_clips_and_both_ends_are_as_long(talk: Conversation) -> None:
    assert len(talk.near) == len(talk.far)
    assert max(np.abs(talk.near).max(), np.abs(talk.far).max()) < 0.9
    assert talk.phases[-1].end_s <= talk.seconds < 35


def test_noise_is_the_same_for_the_same_seed_only() -> None:
    np.testing.assert_array_equal(noise(16_000), noise(16_000))
    assert not np.array_equal(noise(16_000), noise(16_000, seed=8))


def test_recordings_are_cut_to_where_the_conversation_begins(talk: Conversation) -> None:
    early, late = np.zeros(7_321, np.float32), np.zeros(9_000, np.float32)
    mic, out = cut_to(
        talk,
        np.concatenate((early, talk.near, late)),
        np.concatenate((late, 0.5 * talk.near, early)),
    )
    np.testing.assert_array_equal(mic, talk.near)
    np.testing.assert_allclose(out, 0.5 * talk.near, atol=1e-7)


def test_slips_of_the_server_do_not_move_the_beginning_to_a_repeated_sentence(
    talk: Conversation,
) -> None:
    slip = np.zeros(16, np.float32)
    starts = [round(phase.start_s * 16_000) for phase in talk.phases]
    pieces = [part for piece in np.split(talk.near, starts) for part in (piece, slip)]
    recorded = np.concatenate((np.zeros(8_000, np.float32), *pieces, np.zeros(24_000, np.float32)))
    mic, _ = cut_to(talk, recorded, recorded)
    first = next(phase for phase in talk.phases if phase.key == "speech_in_noise")
    at = round(first.start_s * 16_000)
    assert (
        abs(
            np.argmax(np.correlate(mic[at - 2000 : at + 40_000], talk.near[at : at + 30_000]))
            - 2000
        )
        < 1000
    )


def test_a_recording_that_broke_off_is_filled_with_silence(talk: Conversation) -> None:
    half = len(talk.near) // 2
    _, out = cut_to(talk, talk.near, talk.near[:half])
    assert len(out) == len(talk.near)
    np.testing.assert_array_equal(out[:half], talk.near[:half])
    assert not out[half:].any()


def test_silence_is_not_taken_for_suppression(talk: Conversation) -> None:
    silent = measure(talk, talk.near, np.zeros_like(talk.near))[0]
    assert speech_is_lost(silent)
    assert not speech_is_lost(measure(talk, talk.near, 0.5 * talk.near)[0])


def test_levels_and_suppression_are_those_that_were_put_in(talk: Conversation) -> None:
    mic = talk.near + 0.5 * talk.far
    levels, suppression = measure(talk, mic, talk.near + 0.005 * talk.far)
    by_key = {row.phase.key: row for row in levels}
    assert suppression == pytest.approx(40.0, abs=0.1)
    assert by_key["far"].change_db == pytest.approx(-40.0, abs=0.1)
    assert by_key["near"].change_db == 0.0
    assert by_key["noise"].mic_dbfs == pytest.approx(-37.0, abs=2.0)
