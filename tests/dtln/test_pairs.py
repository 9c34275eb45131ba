"""Two hops at once give what two hops one after the other give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import ModelT

from pipedtln.dtln import load_processor, locate_model
from pipedtln.dtln.canceller import EchoCanceller
from pipedtln.dtln.rowwise import round_rows
from pipedtln.dtln.runtime import LiteRuntime, takes_two
from pipedtln.dtln.stagefile import build_file
from pipedtln.dtln.weights import read_weights
from pipedtln.errors import BlockShapeError
from pipedtln.processor import HOP, PairProcessor, Processor
from tests.dtln.sounds import Samples, scene, snr_db, stream

LEAST_DB = {"float": 100.0, "int8": 35.0, "block8": 40.0}
"""Of models whose sums for two frames are added up in another order than their own file does it."""


def mixed(processor: Processor | PairProcessor, mic: Samples, ref: Samples) -> Samples:
    """As :func:`stream`, by pairs and by single hops as chance has it."""
    random = np.random.default_rng(2)
    out = np.empty(len(mic) // HOP * HOP, np.float32)
    at = 0
    while at < len(out):
        if random.random() < 0.6 and at + 2 * HOP <= len(out):
            hop = slice(at, at + 2 * HOP)
            processor.process_two(mic[hop], ref[hop], out[hop])  # type: ignore[union-attr]
        else:
            hop = slice(at, at + HOP)
            processor.process(mic[hop], ref[hop], out[hop])
        at = hop.stop
    return out


@pytest.mark.parametrize(
    "name",
    [
        *(f"{network}-row8" for network in ("ns", "aec-128", "aec-256", "aec-512")),
        *(f"{network}-int8" for network in ("ns", "aec-128", "aec-256", "aec-512")),
        *(f"{network}-float" for network in ("ns", "aec-128")),
        *(f"{network}-block8" for network in ("ns", "aec-128", "aec-256", "aec-512")),
    ],
)
def test_pairs_give_what_single_hops_give(name: str, models: Path) -> None:
    if name.endswith("block8"):
        pytest.importorskip("onnxruntime")
    mic, ref = scene(3.0)
    processor = load_processor(name, pairs=True)
    assert processor.pairs
    wanted = stream(load_processor(name), mic, ref)
    got = mixed(processor, mic, ref)
    precision = locate_model(name).model.precision
    if precision == "row8":
        np.testing.assert_array_equal(got, wanted)
    else:
        print(f"{name}: {snr_db(wanted, got):.1f} dB")
        assert snr_db(wanted, got) >= LEAST_DB[precision]
    processor.reset()
    np.testing.assert_array_equal(mixed(processor, mic, ref), got)


def test_the_output_may_be_the_microphone(models: Path) -> None:
    mic, ref = scene(0.5)
    processor = load_processor("aec-128-row8", pairs=True)
    wanted = mixed(processor, mic, ref)
    processor.reset()
    for at in range(0, len(mic) - HOP, 2 * HOP):
        hop = mic[at : at + 2 * HOP]
        processor.process_two(hop, ref[at : at + 2 * HOP], hop)
    np.testing.assert_array_equal(mic[: len(mic) // (2 * HOP) * 2 * HOP], wanted[: len(mic)])


def test_both_hops_spectra_are_told(models: Path) -> None:
    mic, ref = scene(0.5)
    one, two = (load_processor("aec-128-row8", pairs=True) for _ in range(2))
    assert isinstance(one, EchoCanceller)
    assert isinstance(two, EchoCanceller)
    out = np.empty(2 * HOP, np.float32)
    for at in range(0, len(mic) - HOP, 2 * HOP):
        both = slice(at, at + 2 * HOP)
        two.process_two(mic[both], ref[both], out)
        for row, start in enumerate((at, at + HOP)):
            hop = slice(start, start + HOP)
            one.process(mic[hop], ref[hop], out[:HOP])
            np.testing.assert_array_equal(two.mic_powers[row], one.mic_power)
            np.testing.assert_array_equal(two.ref_powers[row], one.ref_power)
        np.testing.assert_array_equal(two.mic_power, one.mic_power)
        np.testing.assert_array_equal(two.ref_power, one.ref_power)


def test_forgetting_between_pairs_is_forgetting_between_hops(models: Path) -> None:
    mic, ref = scene(1.0)
    half = len(mic) // (4 * HOP) * 2 * HOP
    results = []
    for run in (stream, mixed):
        processor = load_processor("aec-128-row8", pairs=True)
        assert isinstance(processor, EchoCanceller)
        first = run(processor, mic[:half], ref[:half])
        processor.forget()
        results.append(np.concatenate((first, run(processor, mic[half:], ref[half:]))))
    np.testing.assert_array_equal(*results)


def test_a_model_that_takes_single_hops_alone_says_so(models: Path) -> None:
    assert not load_processor("ns-row8").pairs
    assert not load_processor("ns-row8", pairs=True, pipeline=True).pairs
    pytest.importorskip("onnxruntime")
    assert not load_processor("ns-block8").pairs


@pytest.mark.parametrize("name", ["ns-row8", "aec-128-row8"])
def test_single_hops_are_refused_as_pairs(name: str, models: Path) -> None:
    processor = load_processor(name, pairs=True)
    hop, both = np.zeros(HOP, np.float32), np.zeros(2 * HOP, np.float32)
    with pytest.raises(BlockShapeError, match=r"mic must be .* shape \(256,\)"):
        processor.process_two(hop, both, both)
    with pytest.raises(BlockShapeError, match="out must be"):
        processor.process_two(both, both, hop)


def test_what_is_built_for_two_frames_is_read_where_it_lies(models: Path) -> None:
    path = locate_model("ns-row8").files[0]
    stage = LiteRuntime().stage(path, (257,), 257, pairs=True)
    assert path.with_name("pair_1.tflite").is_file()
    assert stage.pairs
    assert not locate_model("ns-int8").files[0].with_name("pair_1.tflite").exists()


def test_large_layers_run_one_step_for_each_frame(models: Path, tmp_path: Path) -> None:
    """Recurrent weights are kept once, and two frames give to the bit what each gives."""
    random = np.random.default_rng(5)
    for number, path in enumerate(locate_model("aec-512-float").files, 1):
        weights = round_rows(read_weights(path))
        one, two = tmp_path / f"stage_{number}.tflite", tmp_path / f"pair_{number}.tflite"
        one.write_bytes(build_file(weights))
        two.write_bytes(build_file(weights, frames=2))
        model = ModelT.InitFromPackedBuf(two.read_bytes())
        assert len(model.subgraphs) == 3
        size = 257 if number == 1 else 512
        stage = LiteRuntime().stage(one, (size, size), size, pairs=True)
        alone = LiteRuntime().stage(one, (size, size), size)
        assert takes_two(stage)
        got, wanted = np.empty((2, size), np.float32), np.empty((2, size), np.float32)
        for _ in range(5):
            sound = np.abs(random.normal(0, 0.1, (2, 2, size))).astype(np.float32)
            stage.run_two((sound[0], sound[1]), got)
            for frame in range(2):
                alone.run((sound[0, frame], sound[1, frame]), wanted[frame])
            np.testing.assert_array_equal(got, wanted)
