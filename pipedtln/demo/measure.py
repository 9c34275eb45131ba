"""Compares two recordings of one conversation: levels by phase, and how much echo is gone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipedtln.demo.conversation import Conversation, Phase
from pipedtln.processor import SAMPLE_RATE, Block

_EDGE_SECONDS = 0.2
"""Left out at both ends of a phase: the echo and the networks' delay blur them."""
_CONVERGED_SECONDS = 2.0
"""Echo suppression counts from here on after the far end starts."""
_SILENCE_DBFS = -100.0
_LOST_DB = 20.0
_RECORDERS_APART_SECONDS = 2.0


@dataclass(frozen=True)
class Levels:
    """RMS of one phase in dBFS (-100 at least): raw microphone and DTLN Microphone."""

    phase: Phase
    mic_dbfs: float
    out_dbfs: float

    @property
    def change_db(self) -> float:
        """By how much DTLN Microphone is louder than the raw one; negative is quieter."""
        return self.out_dbfs - self.mic_dbfs


def measure(talk: Conversation, mic: Block, out: Block) -> tuple[list[Levels], float]:
    """Levels of each phase, and the echo suppression in dB two seconds after the far end began.

    Parameters
    ----------
    talk : what was played
    mic, out : float32, 16 kHz, cut to begin with the conversation
    """
    levels = [
        Levels(
            phase,
            _level(mic, phase.start_s + _EDGE_SECONDS, phase.end_s - _EDGE_SECONDS),
            _level(out, phase.start_s + _EDGE_SECONDS, phase.end_s - _EDGE_SECONDS),
        )
        for phase in talk.phases
    ]
    far = next(phase for phase in talk.phases if phase.key == "far")
    span = (far.start_s + _CONVERGED_SECONDS, far.end_s - _EDGE_SECONDS)
    return levels, _level(mic, *span) - _level(out, *span)


def speech_is_lost(levels: list[Levels]) -> bool:
    """Whether the near end, alone, came through too quiet to call anything a suppression."""
    near = next(row for row in levels if row.phase.key == "near")
    return near.change_db < -_LOST_DB


def cut_to(talk: Conversation, mic: Block, out: Block) -> tuple[Block, Block]:
    """Cut both recordings so that they begin when the conversation does and are as long.

    The place is where a recording correlates most with what was played into the microphone; in
    ``out`` it is looked for near that of ``mic``, as the recorders started together.
    """
    reach = round(_RECORDERS_APART_SECONDS * SAMPLE_RATE)
    # The whole has to fit: a sentence is said twice, and where the server slips in between, the
    # second time correlates as well with the first.
    start = _start(talk, mic, 0, max(0, len(mic) - len(talk.near)) + reach)
    started = _start(talk, out, max(0, start - reach), start + reach)
    return _cut(mic, start, len(talk.near)), _cut(out, started, len(talk.near))


def _start(talk: Conversation, recorded: Block, lowest: int, highest: int) -> int:
    size = 1 << (len(recorded) + len(talk.near) - 1).bit_length()
    cross = np.fft.irfft(np.fft.rfft(recorded, size) * np.conj(np.fft.rfft(talk.near, size)), size)
    return lowest + int(np.argmax(cross[lowest:highest]))


def _cut(recorded: Block, start: int, count: int) -> Block:
    cut: Block = np.zeros(count, np.float32)
    piece = recorded[start : start + count]
    cut[: len(piece)] = piece
    return cut


def _level(sound: Block, start_s: float, end_s: float) -> float:
    part = sound[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]
    power = float(np.mean(np.square(part, dtype=np.float64))) if len(part) else 0.0
    return max(_SILENCE_DBFS, 10 * math.log10(power)) if power > 0 else _SILENCE_DBFS
