"""Networks that are built here follow the float ones, and are built, kept and refused properly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from pipedtln.dtln import derive, load_processor, locate_model, onnxgraph, rowwise
from pipedtln.dtln.derive import build, missing_builders
from pipedtln.dtln.fetch import fetch_models
from pipedtln.dtln.manifest import Model, load_manifest
from pipedtln.dtln.onnx_runtime import OnnxRuntime
from pipedtln.dtln.onnxgraph import BLOCK
from pipedtln.dtln.runtime import LiteRuntime
from pipedtln.dtln.store import Located, Store
from pipedtln.dtln.weights import read_weights
from pipedtln.errors import ModelError
from tests.conftest import SHARED
from tests.dtln.recipe import Recipe
from tests.dtln.sounds import Samples, scene, snr_db, stream

AUDIO = SHARED / "audio"
NETWORKS = ("ns", "aec-128", "aec-256", "aec-512")
needs_onnx = pytest.mark.skipif(
    bool(missing_builders("block8")),
    reason=f"not installed: {', '.join(missing_builders('block8'))}",
)
PRECISIONS = ["row8", pytest.param("block8", marks=needs_onnx)]
LEAST_DB = {"row8": 35.0, "block8": 35.0}
LEAST_BETTER_DB = {"row8": 6.0, "block8": 4.0}


def float_output(network: str, mic: Samples, ref: Samples) -> Samples:
    return Recipe(*locate_model(f"{network}-float").files).run(mic, ref)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("network", NETWORKS)
def test_follows_the_float_network_in_the_published_recipe(
    network: str, precision: str, models: Path
) -> None:
    mic, ref = scene(4.0)
    wanted = float_output(network, mic, ref)
    built = snr_db(wanted, stream(load_processor(f"{network}-{precision}"), mic, ref))
    int8 = snr_db(wanted, stream(load_processor(f"{network}-int8"), mic, ref))
    print(f"{network}: {precision} {built:.1f} dB, int8 {int8:.1f} dB")
    assert built >= LEAST_DB[precision]
    assert built >= int8 + LEAST_BETTER_DB[precision]


@pytest.mark.skipif(not AUDIO.is_dir(), reason="the authors' recordings are not on this machine")
@pytest.mark.parametrize("network", NETWORKS)
def test_follows_the_float_network_on_recordings(network: str, models: Path) -> None:
    microphones = sorted(AUDIO.glob("*_mic.wav"))
    assert microphones
    # All precisions in one test: what takes its time is the float network.
    left_out = [precision for precision in LEAST_DB if missing_builders(precision)]
    for path in microphones:
        mic, ref = (
            sf.read(str(path).replace("_mic", kind), dtype="float32")[0]
            for kind in ("_mic", "_lpb")
        )
        n = min(len(mic), len(ref)) // 128 * 128
        wanted = float_output(network, mic[:n], ref[:n])
        for precision, least_db in LEAST_DB.items():
            if precision in left_out:
                continue
            got = stream(load_processor(f"{network}-{precision}"), mic[:n], ref[:n])
            to_output = snr_db(wanted, got)
            to_microphone = snr_db(mic[:n], mic[:n] + got - wanted)
            name = f"{network}-{precision} {path.name}"
            print(f"{name}: {to_output:.1f} dB, {to_microphone:.1f} dB below the mic")
            # Where all is echo, next to nothing is left to compare with: there the error only has
            # to be as far below what came in.
            assert to_output >= least_db or to_microphone >= 60.0, name
    if left_out:
        pytest.skip(f"cannot be built here: {', '.join(left_out)}; the others passed")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("network", ["ns", "aec-128"])
def test_is_a_stream_like_the_others(network: str, precision: str, models: Path) -> None:
    mic, ref = scene(1.0)
    processor, other = (load_processor(f"{network}-{precision}") for _ in range(2))
    first = stream(processor, mic, ref)
    carried = stream(processor, mic, ref)
    assert snr_db(first, carried) < 60.0, "the state must matter, or reset is not tested"
    # An odd number of hops, so that the other one of the two bindings comes first now.
    stream(processor, mic[:128], ref[:128])
    processor.reset()
    np.testing.assert_array_equal(stream(processor, mic, ref), first)
    np.testing.assert_array_equal(stream(other, mic, ref), first)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_threads_do_not_change_the_sound(precision: str, models: Path) -> None:
    mic, ref = scene(0.5)
    name = f"aec-512-{precision}"
    one, two = (stream(load_processor(name, threads=n), mic, ref) for n in (1, 2))
    assert snr_db(one, two) > 80.0


def test_weights_are_rounded_in_blocks_of_their_own() -> None:
    random = np.random.default_rng(1)
    matrix = random.standard_normal((5, 2 * BLOCK + 6)).astype(np.float32)
    matrix[:, :BLOCK] *= 1000.0
    matrix[3] = 0.0
    columns = matrix.shape[1]
    steps, scales = onnxgraph.quantize(matrix)
    assert (steps.shape, scales.shape) == ((5, 3, BLOCK), (5, 3))
    restored = ((steps.astype(np.float32) - 128) * scales[:, :, None]).reshape(5, -1)
    assert not restored[:, columns:].any()
    error = np.abs(restored[:, :columns] - matrix)
    allowed = np.repeat(scales, BLOCK, axis=1)[:, :columns] * 0.5001
    assert (error <= allowed).all()
    assert (error[:, BLOCK:] < 0.02).all(), "a loud block must not coarsen its neighbours"


def test_weights_are_rounded_in_rows_of_their_own() -> None:
    matrix = np.random.default_rng(1).standard_normal((5, 70)).astype(np.float32)
    matrix[1] *= 1000.0
    matrix[3] = 0.0
    rounded = rowwise.quantize(matrix)
    scales = rounded.scales[:, None]
    assert (rounded.shape, scales.shape) == (matrix.shape, (5, 1))
    error = np.abs(rounded.steps * scales - matrix)
    assert (error <= scales * 0.5001).all()
    assert (error[[0, 2, 3, 4]] < 0.02).all(), "a loud row must not coarsen its neighbours"


def _stage(folder: Path, number: int) -> Path:
    (path,) = folder.glob(f"stage_{number}.*")
    return path


def _flip_the_last_bit(folder: Path) -> None:
    path = _stage(folder, 2)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def _make_it_old(folder: Path) -> None:
    record = json.loads((folder / "built.json").read_text())
    (folder / "built.json").write_text(json.dumps(record | {"format": 0}))


DAMAGES = {
    "bit": _flip_the_last_bit,
    "missing": lambda folder: _stage(folder, 1).unlink(),
    "record": lambda folder: (folder / "built.json").write_text("{"),
    "old": _make_it_old,
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_is_built_at_fetch_and_again_when_damaged(
    damage: Callable[[Path], object], precision: str, models: Path, tmp_path: Path
) -> None:
    name = f"ns-{precision}"
    published = tmp_path / "published"
    shutil.copytree(models / "ns-float", published / "ns-float")
    store = Store(tmp_path / "cache", published)
    (located,) = fetch_models([name], store=store)
    folder = tmp_path / "cache" / name
    assert located.files == (_stage(folder, 1), _stage(folder, 2))
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [name]
    built = [path.read_bytes() for path in located.files]
    damage(folder)
    assert store.find(located.model) is None
    with pytest.raises(ModelError, match=f"pipedtln models fetch {name}"):
        locate_model(name, store=store)
    (located,) = fetch_models([name], store=store)
    assert [path.read_bytes() for path in located.files] == built


@needs_onnx
def test_without_the_extra_one_line_says_what_to_install(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    says = r"pip install 'pipedtln\[onnx\]'$"
    with pytest.raises(ModelError, match=says):
        load_processor("ns-block8")
    with pytest.raises(ModelError, match=rf"ns-block8 is built .* onnxruntime.*{says}"):
        fetch_models(["ns-block8"], store=Store(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists(), "it is told before anything is fetched"
    monkeypatch.setattr(Store, "find", _without("row8", Store.find))
    assert locate_model("auto").model.precision == "int8", "auto takes what runs"
    assert locate_model("aec-256-block8"), "that its weights are here is told all the same"


@needs_onnx
def test_auto_takes_row8_then_block8(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate_model("auto").model.name == "aec-256-row8"
    assert locate_model("auto", reference=False).model.name == "ns-row8"
    monkeypatch.setattr(Store, "find", _without("row8", Store.find))
    assert locate_model("auto").model.name == "aec-256-block8"
    assert locate_model("auto", reference=False).model.name == "ns-block8"


def _without(precision: str, find: Callable[[Store, Model], Located | None]) -> Any:
    return lambda self, model: None if model.precision == precision else find(self, model)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_does_not_follow_its_source_is_not_kept(
    precision: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = tmp_path / "published"
    shutil.copytree(models / "ns-float", published / "ns-float")
    store = Store(tmp_path / "cache", published)
    monkeypatch.setattr(derive, "LEAST_AGREEMENT_DB", 90.0)
    with pytest.raises(ModelError, match=r"does not follow it on this machine\. Use ns-float"):
        fetch_models([f"ns-{precision}"], store=store)
    assert not any((tmp_path / "cache").iterdir())


@needs_onnx
def test_onnxruntime_tells_its_maker_nothing_and_leaves_nothing_behind(
    models: Path, tmp_path: Path
) -> None:
    code = "import pipedtln; pipedtln.load_processor('ns-block8')"
    # It keeps silent by itself where it takes itself to be tested.
    quiet = ("CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
    env = {name: value for name, value in os.environ.items() if name not in quiet}
    env |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_source_is_named(models: Path, tmp_path: Path) -> None:
    quantized = locate_model("ns-int8").files[0]
    rubbish = tmp_path / "rubbish.tflite"
    rubbish.write_bytes(b"not a flatbuffer" * 100)
    for path in (quantized, rubbish, tmp_path / "missing.tflite"):
        with pytest.raises(ModelError, match=rf"{path.name} is not a float stage .* models fetch"):
            read_weights(path)


def test_a_wrong_file_is_named(models: Path, tmp_path: Path) -> None:
    first, second = locate_model("ns-row8").files
    for path, inputs, size in ((second, (257,), 257), (first, (257, 257), 257)):
        with pytest.raises(ModelError, match="is not the network stage"):
            LiteRuntime().stage(path, inputs, size)
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"not a file" * 100)
    with pytest.raises(ModelError, match=r"broken\.tflite cannot be loaded .* models fetch"):
        LiteRuntime().stage(path, (257,), 257)


@needs_onnx
def test_a_wrong_graph_is_named(models: Path, tmp_path: Path) -> None:
    first, second = locate_model("ns-block8").files
    with pytest.raises(ModelError, match="is not the network stage"):
        OnnxRuntime().stage(second, (257,), 257)
    with pytest.raises(ModelError, match="is not the network stage"):
        OnnxRuntime().stage(first, (257, 257), 257)
    path = tmp_path / "broken.onnx"
    for content in (b"not a graph" * 100, first.read_bytes()[:-1000]):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"broken\.onnx cannot be loaded .* models fetch"):
            OnnxRuntime().stage(path, (257,), 257)
    with pytest.raises(ModelError, match="cannot be loaded"):
        OnnxRuntime().stage(tmp_path / "missing.onnx", (257,), 257)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_weights_make_the_same_files(precision: str, models: Path, tmp_path: Path) -> None:
    model = load_manifest().model(f"aec-128-{precision}")
    build(model, locate_model("aec-128-float"), tmp_path)
    kept = locate_model(model.name).files[0].parent
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(made) == {"block8": 5, "row8": 7}[precision], "of each stage, and a record"
    assert made == {path.name: path.read_bytes() for path in kept.iterdir()}
