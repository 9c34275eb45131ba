"""Channels of one card: numbers from either end, and one line for what is not there."""

from __future__ import annotations

import pytest

from pipedtln.audio.channels import choose_channels
from pipedtln.config import resolve
from pipedtln.errors import DeviceError
from pipedtln.service.channels import choose_or_do_without


@pytest.mark.parametrize(
    ("channels", "mic", "ref", "chosen"),
    [
        (6, None, -1, (0, 5)),
        (6, None, 0, (1, 0)),
        (6, -2, 5, (4, 5)),
        (2, None, 1, (0, 1)),
        (6, 3, None, (3, None)),
        (1, 0, None, (0, None)),
        (4, None, None, (None, None)),
    ],
)
def test_channels_count_from_either_end(
    channels: int, mic: int | None, ref: int | None, chosen: tuple[int | None, int | None]
) -> None:
    assert choose_channels(channels, "card", mic, ref) == chosen


@pytest.mark.parametrize(
    ("channels", "mic", "ref", "told"),
    [
        (6, None, 6, "has no channel 6: it has 6"),
        (6, None, -7, "has no channel -7: it has 6"),
        (2, 2, -1, "has no channel 2: it has 2"),
        (2, -1, 1, "cannot be both microphone and reference"),
        (1, None, -1, "has one channel only"),
    ],
)
def test_what_the_card_lacks_is_named(
    channels: int, mic: int | None, ref: int | None, told: str
) -> None:
    with pytest.raises(DeviceError, match=f"'card'.* {told}|{told}"):
        choose_channels(channels, "card", mic, ref)


@pytest.mark.parametrize(
    ("settings", "chosen", "problem"),
    [
        ({"reference": "channel:9"}, (0, None), "no echo is cancelled: 'card' has no channel 9"),
        ({"reference": "channel:5", "mic_channel": "9"}, (0, 5), "'card' has no channel 9"),
        ({"reference": "channel:5", "mic_channel": "5"}, (5, None), "no echo is cancelled"),
        ({"reference": "none", "mic_channel": "9"}, (None, None), "'card' has no channel 9"),
        ({"reference": "channel:-1", "mic_channel": "2"}, (2, 5), None),
    ],
)
def test_the_microphone_goes_on_without_what_is_not_there(
    settings: dict[str, str], chosen: tuple[int | None, int | None], problem: str | None
) -> None:
    mic, ref, told = choose_or_do_without(6, "card", resolve(settings))
    assert (mic, ref) == chosen
    assert (told is None) == (problem is None)
    assert (told or "").startswith(problem or "")
