"""Runs a processor over a recording, in constant memory and without delay."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import soxr

from pipedtln.errors import InputError
from pipedtln.files.read import MonoReader
from pipedtln.files.write import SoundWriter
from pipedtln.processor import Block, Processor, batch_of, process_hops

Pair: TypeAlias = tuple[Block, Block]
"""One hop of microphone and reference, both float32 of shape (hop,)."""

Align: TypeAlias = Callable[[Iterator[Pair]], Iterator[Pair]]
"""Moves the reference to where its echo is.

Takes the hops of a whole recording and gives as many: the microphone's as they are, in order,
the reference's earlier or later. It may look ahead as far as it wants to hold in memory.
"""

Progress: TypeAlias = Callable[[float, float | None], None]
"""Called with the seconds done and, where the file tells them, the seconds in all."""

_SLACK_S = 0.1
"""A reference may end this much before the microphone: two recorders never stop at once."""


@dataclass(frozen=True)
class Report:
    """What became of one file. Levels are RMS in dBFS over the whole of it, -inf for silence."""

    output: Path
    frames: int
    sample_rate: int
    seconds: float
    elapsed_s: float
    mic_dbfs: float
    out_dbfs: float


def process_file(
    mic: Path,
    out: Path,
    processor: Processor,
    *,
    ref: Path | None = None,
    channel: int = 0,
    ref_channel: int = 0,
    pad_ref: bool = False,
    strength: int = 100,
    align: Align | None = None,
    progress: Progress | None = None,
    chunk: int = 16_384,
) -> Report:
    """Clean a recording; the result has its exact length and rate and lies in time with it.

    Parameters
    ----------
    mic : the recording; any format, rate and channel count that libsndfile reads
    out : where the result goes, mono; whole or not at all. Its extension decides the format.
    processor : any; it is reset first
    ref : what the loudspeaker played meanwhile; silence where None. Any rate.
    channel, ref_channel : 0 is the first, negative counts from the end
    pad_ref : let silence follow a reference that is shorter than the microphone
    strength : 0-100 %, how much of what the processor removes stays out
    align : moves the reference in time; None takes it as it is
    progress : called about once per second of sound
    chunk : frames to read at a time; does not change the result

    Raises
    ------
    InputError
        If a file cannot be used; ``out`` is then as it was before.
    """
    started = time.monotonic()
    if not 0 <= strength <= 100:
        raise InputError(f"strength {strength} is out of range; give 0 to 100 percent")
    _reject_overwriting(out, mic, ref)
    rate = processor.sample_rate
    with ExitStack() as stack:
        mic_in = stack.enter_context(MonoReader(mic, rate=rate, channel=channel, chunk=chunk))
        ref_in = None
        if ref is not None:
            ref_in = stack.enter_context(
                MonoReader(ref, rate=rate, channel=ref_channel, chunk=chunk)
            )
            if not pad_ref:
                _reject_short(ref_in, mic_in)
        writer = stack.enter_context(SoundWriter(out, mic_in.info.sample_rate, mic_in.info))
        run = _Run(processor, mic_in, writer, strength / 100)
        hops = _pairs(mic_in, ref_in, processor, pad_ref=pad_ref)
        hops = align(hops) if align else hops
        done = told = 0
        for mic_part, ref_part in _by_batches(hops, batch_of(processor)):
            run.step(mic_part, ref_part)
            if progress is not None and done >= told:
                progress(done / rate, mic_in.info.seconds)
                told += rate
            done += len(mic_part)
        frames = run.finish()
    seconds = frames / mic_in.info.sample_rate
    if progress is not None:
        progress(seconds, seconds)
    return Report(
        output=out,
        frames=frames,
        sample_rate=mic_in.info.sample_rate,
        seconds=seconds,
        elapsed_s=time.monotonic() - started,
        mic_dbfs=_dbfs(run.mic_energy, run.samples),
        out_dbfs=_dbfs(run.out_energy, run.samples),
    )


class _Run:
    """The way of the sound from the processor's input to the file."""

    def __init__(
        self, processor: Processor, mic: MonoReader, writer: SoundWriter, strength: float
    ) -> None:
        self.samples = 0
        self.mic_energy = 0.0
        self.out_energy = 0.0
        self._processor = processor
        self._mic = mic
        self._writer = writer
        self._strength = strength
        self._skip = processor.latency_samples
        self._dry: Block = np.zeros(processor.latency_samples, np.float32)
        self._out: Block = np.zeros(batch_of(processor) * processor.hop, np.float32)
        self._pending: list[Block] = []
        self._pending_samples = 0
        self._written = 0
        self._resampler = (
            None
            if mic.rate == mic.info.sample_rate
            else soxr.ResampleStream(mic.rate, mic.info.sample_rate, 1, dtype="float32")
        )
        processor.reset()

    def step(self, mic: Block, ref: Block) -> None:
        """Process some hops; pass on what of them is in time with the microphone."""
        out = self._out[: len(mic)]
        heard = np.concatenate((self._dry, mic))
        dry, self._dry = heard[: len(mic)], heard[len(mic) :]
        process_hops(self._processor, mic, ref, out)
        if self._strength < 1.0:
            out += (1.0 - self._strength) * (dry - out)
        self._pending.append(out[self._skip :].copy())
        self.mic_energy += float(np.dot(dry, dry))
        self.out_energy += float(np.dot(out[self._skip :], out[self._skip :]))
        self._pending_samples += len(self._pending[-1])
        self.samples += len(self._pending[-1])
        self._skip = max(0, self._skip - len(out))
        if self._pending_samples >= self._processor.sample_rate:
            self._pass_on(last=False)

    def finish(self) -> int:
        """Write what is left, as many frames in all as the microphone has; give their number."""
        self._pass_on(last=True)
        missing = self._mic.frames_read - self._written
        if missing > 0:
            self._write(np.zeros(missing, np.float32))
        return self._written

    def _pass_on(self, *, last: bool) -> None:
        block: Block = np.concatenate(self._pending) if self._pending else self._out[:0]
        self._pending.clear()
        self._pending_samples = 0
        if self._resampler is not None:
            block = self._resampler.resample_chunk(block, last=last)
        self._write(block)

    def _write(self, block: Block) -> None:
        block = block[: self._mic.frames_read - self._written]
        self._writer.write(block)
        self._written += len(block)


def _pairs(
    mic: MonoReader, ref: MonoReader | None, processor: Processor, *, pad_ref: bool
) -> Iterator[Pair]:
    """All hops of a recording, and as much silence after it as the processor lags behind."""
    hop = processor.hop
    silent_hops = -1
    while silent_hops != 0:
        mic_hop = mic.take(hop)
        if silent_hops > 0:
            silent_hops -= 1
        elif mic.ended:
            # the last hop's own padding already makes up for some of the lag
            lag = processor.latency_samples - (hop - len(mic_hop))
            silent_hops = max(0, math.ceil(lag / hop))
        ref_hop = np.zeros(0, np.float32) if ref is None else ref.take(hop)
        if ref is not None and ref.ended and not mic.ended and not pad_ref:
            _reject_short(ref, mic)
        yield _filled(mic_hop, hop), _filled(ref_hop, hop)


def _by_batches(hops: Iterator[Pair], batch: int) -> Iterator[Pair]:
    """So many hops as one, and at the end what is left."""
    while some := list(islice(hops, batch)):
        mic, ref = zip(*some, strict=True)
        yield np.concatenate(mic), np.concatenate(ref)


def _filled(block: Block, hop: int) -> Block:
    if len(block) == hop:
        return block
    return np.concatenate((block, np.zeros(hop - len(block), np.float32)))


def _reject_overwriting(out: Path, mic: Path, ref: Path | None) -> None:
    for source, word in ((mic, "recording"), (ref, "reference")):
        if source is not None and out.exists() and source.exists() and out.samefile(source):
            raise InputError(f"{out} is the {word} itself; name another output with -o")


def _reject_short(ref: MonoReader, mic: MonoReader) -> None:
    """Refuse a reference that ends before the microphone, as far as is known by now."""
    mic_s, ref_s = _known_seconds(mic), _known_seconds(ref)
    if mic_s is None or ref_s is None or mic_s - ref_s <= _SLACK_S:
        return
    raise InputError(
        f"{ref.info.path} is {mic_s - ref_s:.3f} s shorter than {mic.info.path} "
        f"({ref_s:.3f} s against {mic_s:.3f} s); give the whole reference, "
        "or --pad-ref to let silence follow it"
    )


def _known_seconds(reader: MonoReader) -> float | None:
    if reader.ended:
        return reader.frames_read / reader.info.sample_rate
    if reader.info.seconds is not None:
        return reader.info.seconds
    return reader.frames_read / reader.info.sample_rate if reader.frames_read else None


def _dbfs(energy: float, samples: int) -> float:
    return 10 * math.log10(energy / samples) if energy > 0 and samples else -math.inf
