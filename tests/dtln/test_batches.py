"""Several hops at once give what they give one after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import ModelT

from pipedtln.dtln import load_processor, locate_model
from pipedtln.dtln.canceller import EchoCanceller
from pipedtln.dtln.rowwise import round_rows
from pipedtln.dtln.runtime import BATCH_FILES, LiteRuntime, runs_batches
from pipedtln.dtln.stagefile import build_file
from pipedtln.dtln.weights import read_weights
from pipedtln.errors import BlockShapeError
from pipedtln.processor import HOP, BatchProcessor, Processor, batch_of
from tests.dtln.sounds import Samples, scene, snr_db, stream

LEAST_DB = {"float": 100.0, "int8": 35.0, "block8": 40.0}
"""Of models whose sums for several frames are added up in another order than one frame's are."""
HOPS = pytest.mark.parametrize("hops", [2, 4])


def mixed(processor: Processor | BatchProcessor, mic: Samples, ref: Samples) -> Samples:
    """As :func:`stream`, by batches and by single hops as chance has it."""
    random = np.random.default_rng(2)
    out = np.empty(len(mic) // HOP * HOP, np.float32)
    size = batch_of(processor) * HOP
    at = 0
    while at < len(out):
        if random.random() < 0.6 and at + size <= len(out):
            hop = slice(at, at + size)
            processor.process_batch(mic[hop], ref[hop], out[hop])  # type: ignore[union-attr]
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
@HOPS
def test_batches_give_what_single_hops_give(name: str, hops: int, models: Path) -> None:
    if name.endswith("block8"):
        pytest.importorskip("onnxruntime")
        hops = 2
    mic, ref = scene(3.0)
    processor = load_processor(name, batch=hops)
    assert processor.batch == hops
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


@HOPS
def test_the_output_may_be_the_microphone(hops: int, models: Path) -> None:
    mic, ref = (sound[: 60 * HOP] for sound in scene(0.5))
    processor = load_processor("aec-128-row8", batch=hops)
    wanted = mixed(processor, mic, ref)
    processor.reset()
    for at in range(0, len(mic), hops * HOP):
        some = slice(at, at + hops * HOP)
        processor.process_batch(mic[some], ref[some], mic[some])
    np.testing.assert_array_equal(mic, wanted)


@HOPS
def test_all_hops_spectra_are_told(hops: int, models: Path) -> None:
    mic, ref = (sound[: 60 * HOP] for sound in scene(0.5))
    one, several = (load_processor("aec-128-row8", batch=hops) for _ in range(2))
    assert isinstance(one, EchoCanceller)
    assert isinstance(several, EchoCanceller)
    out = np.empty(hops * HOP, np.float32)
    for at in range(0, len(mic), hops * HOP):
        some = slice(at, at + hops * HOP)
        several.process_batch(mic[some], ref[some], out)
        for row in range(hops):
            hop = slice(at + row * HOP, at + (row + 1) * HOP)
            one.process(mic[hop], ref[hop], out[:HOP])
            np.testing.assert_array_equal(several.mic_powers[row], one.mic_power)
            np.testing.assert_array_equal(several.ref_powers[row], one.ref_power)
        np.testing.assert_array_equal(several.mic_power, one.mic_power)
        np.testing.assert_array_equal(several.ref_power, one.ref_power)


@HOPS
def test_forgetting_between_batches_is_forgetting_between_hops(hops: int, models: Path) -> None:
    mic, ref = scene(1.0)
    half = len(mic) // (8 * HOP) * 4 * HOP
    results = []
    for run in (stream, mixed):
        processor = load_processor("aec-128-row8", batch=hops)
        assert isinstance(processor, EchoCanceller)
        first = run(processor, mic[:half], ref[:half])
        processor.forget()
        results.append(np.concatenate((first, run(processor, mic[half:], ref[half:]))))
    np.testing.assert_array_equal(*results)


def test_a_model_that_takes_single_hops_alone_says_so(models: Path) -> None:
    alone = load_processor("ns-row8")
    assert alone.batch == 1
    assert load_processor("ns-row8", batch=2, pipeline=True).batch == 1
    hop, out = np.ones(HOP, np.float32), np.empty(HOP, np.float32)
    alone.process_batch(hop, hop, out)
    pytest.importorskip("onnxruntime")
    assert load_processor("ns-block8").batch == 1
    assert load_processor("ns-block8", batch=4).batch == 2, "as it was built"


@pytest.mark.parametrize("name", ["ns-row8", "aec-128-row8"])
@HOPS
def test_single_hops_are_refused_as_batches(name: str, hops: int, models: Path) -> None:
    processor = load_processor(name, batch=hops)
    hop, all_of_it = np.zeros(HOP, np.float32), np.zeros(hops * HOP, np.float32)
    with pytest.raises(BlockShapeError, match=rf"mic must be .* shape \({hops * HOP},\)"):
        processor.process_batch(hop, all_of_it, all_of_it)
    with pytest.raises(BlockShapeError, match="out must be"):
        processor.process_batch(all_of_it, all_of_it, hop)


@pytest.mark.parametrize(("hops", "name"), [(2, "pair_1.tflite"), (4, "four_1.tflite")])
def test_what_is_built_for_several_frames_is_read_where_it_lies(
    hops: int, name: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = locate_model("ns-row8").files[0]
    assert path.with_name(name).is_file()
    assert not locate_model("ns-int8").files[0].with_name(name).exists()
    monkeypatch.setattr("pipedtln.dtln.runtime.build_file", None)
    assert LiteRuntime().stage(path, (257,), 257, batch=hops).batch == hops


@HOPS
def test_large_layers_run_one_step_for_each_frame(hops: int, models: Path, tmp_path: Path) -> None:
    """Recurrent weights are kept once, and several frames give to the bit what each gives."""
    random = np.random.default_rng(5)
    for number, path in enumerate(locate_model("aec-512-float").files, 1):
        weights = round_rows(read_weights(path))
        one = tmp_path / f"stage_{number}.tflite"
        several = tmp_path / f"{BATCH_FILES[hops]}_{number}.tflite"
        one.write_bytes(build_file(weights))
        several.write_bytes(build_file(weights, hops))
        model = ModelT.InitFromPackedBuf(several.read_bytes())
        assert len(model.subgraphs) == 3
        size = 257 if number == 1 else 512
        stage = LiteRuntime().stage(one, (size, size), size, batch=hops)
        alone = LiteRuntime().stage(one, (size, size), size)
        assert runs_batches(stage)
        got, wanted = np.empty((2, hops, size), np.float32)
        for _ in range(5):
            sound = np.abs(random.normal(0, 0.1, (2, hops, size))).astype(np.float32)
            stage.run_batch((sound[0], sound[1]), got)
            for frame in range(hops):
                alone.run((sound[0, frame], sound[1, frame]), wanted[frame])
            np.testing.assert_array_equal(got, wanted)
