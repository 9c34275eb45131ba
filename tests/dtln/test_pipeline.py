"""The second stage beside the first: the same sound, one hop later."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import pytest

from pipedtln import load_processor
from pipedtln.dtln.pipeline import PipelinedStage
from pipedtln.dtln.suppressor import NoiseSuppressor
from pipedtln.dtln.tensor import Tensor
from pipedtln.processor import HOP
from pipedtln.stream.failopen import RETRY_HOPS, FailOpen
from tests.dtln.sounds import scene, stream


@pytest.mark.parametrize(
    "name", ["ns-int8", "aec-128-int8", "aec-256-int8", "aec-512-int8", "aec-256-row8", "ns-block8"]
)
def test_output_is_the_plain_one_a_hop_later(name: str, models: Path) -> None:
    if name.endswith("block8"):
        pytest.importorskip("onnxruntime")
    mic, ref = scene(3.0)
    plain, pipelined = load_processor(name), load_processor(name, pipeline=True)
    assert pipelined.latency_samples == plain.latency_samples + HOP
    expected, got = stream(plain, mic, ref), stream(pipelined, mic, ref)
    np.testing.assert_array_equal(got[HOP:], expected[:-HOP])
    pipelined.reset()
    np.testing.assert_array_equal(stream(pipelined, mic, ref), got)


class Mirror:
    """A stage that gives its input back, or breaks; it may be held up."""

    def __init__(self) -> None:
        self.breaks: Exception | None = None
        self.go = threading.Event()
        self.go.set()
        self.resets = 0

    def run(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        assert self.go.wait(10)
        if self.breaks:
            raise self.breaks
        out[:] = inputs[0]

    def reset(self) -> None:
        self.resets += 1


def test_caller_goes_on_while_a_frame_is_inferred() -> None:
    mirror = Mirror()
    stage = PipelinedStage(mirror, (4,), 4)
    sound, out = np.arange(4, dtype=np.float32), np.ones(4, dtype=np.float32)
    mirror.go.clear()
    stage.run((sound,), out)
    assert not out.any()
    sound += 100
    mirror.go.set()
    stage.run((sound,), out)
    np.testing.assert_array_equal(out, [0, 1, 2, 3])


def test_reset_forgets_the_frame_that_is_under_way() -> None:
    mirror = Mirror()
    stage = PipelinedStage(mirror, (4,), 4)
    out = np.ones(4, dtype=np.float32)
    stage.run((out,), out)
    stage.reset()
    assert mirror.resets == 1
    stage.run((np.ones(4, dtype=np.float32),), out)
    assert not out.any()


def test_error_is_raised_a_hop_later_and_the_microphone_goes_through() -> None:
    class Half(Mirror):
        def run(self, inputs: tuple[Tensor, ...], out: Tensor) -> None:
            super().run(inputs, out)
            out[:] = 0.5

    masks, frames = Mirror(), Half()
    stage = FailOpen(NoiseSuppressor(masks, frames, pipeline=True))
    silence, mic, out = (np.full(HOP, value, np.float32) for value in (0.0, 0.25, 0.0))

    def feed(hops: int) -> None:
        for _ in range(hops):
            stage.process(mic, silence, out)

    feed(20)
    np.testing.assert_array_equal(out, np.full(HOP, 2.0))
    frames.breaks = RuntimeError("a broken stage")
    feed(3)
    assert stage.problem is not None
    assert "a broken stage" in stage.problem
    np.testing.assert_array_equal(out, mic)
    frames.breaks = None
    feed(RETRY_HOPS + 20)
    assert stage.problem is None
    np.testing.assert_array_equal(out, np.full(HOP, 2.0))


def test_thread_ends_with_the_processor(models: Path) -> None:
    before = set(threading.enumerate())
    processor = load_processor("ns-int8", pipeline=True)
    stream(processor, *scene(0.1))
    (thread,) = set(threading.enumerate()) - before
    del processor
    gc.collect()
    thread.join(5)
    assert not thread.is_alive()
