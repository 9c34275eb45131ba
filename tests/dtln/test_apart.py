"""Networks whose state is taken apart give, bit for bit, what the files give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from pipedtln.dtln import frames, load_processor, locate_model
from pipedtln.dtln.apart import PIECES, take_apart
from pipedtln.dtln.manifest import load_manifest
from pipedtln.dtln.runtime import LiteRuntime
from tests.dtln.sounds import scene, stream

NAMES = tuple(model.name for model in load_manifest().models.values() if model.pairs)


def _loaded(content: bytes) -> Any:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_gives_what_the_file_gives(name: str, stage: int, models: Path) -> None:
    content = locate_model(name).files[stage].read_bytes()
    apart = take_apart(content)
    assert apart is not None
    whole, rewired = _loaded(content), _loaded(apart)
    given, made = whole.get_input_details(), whole.get_output_details()
    (state,) = (tensor for tensor in given if len(tensor["shape"]) == 4)
    (next_state,) = (tensor for tensor in made if len(tensor["shape"]) == 4)
    (result,) = (tensor for tensor in made if len(tensor["shape"]) != 4)
    values = [tensor for tensor in given if len(tensor["shape"]) != 4]
    pieces = rewired.get_input_details()[-len(PIECES) :]
    apart_result, *next_pieces = rewired.get_output_details()
    random = np.random.default_rng(3)
    for level in np.geomspace(0.001, 10.0, 12):
        for tensor, same in zip(values, rewired.get_input_details(), strict=False):
            value = np.abs(level * random.standard_normal(tensor["shape"])).astype(np.float32)
            whole.set_tensor(tensor["index"], value)
            rewired.set_tensor(same["index"], value)
        before = random.uniform(-1, 1, state["shape"]).astype(np.float32)
        whole.set_tensor(state["index"], before)
        for (layer, kind), tensor in zip(PIECES, pieces, strict=True):
            rewired.set_tensor(tensor["index"], np.ascontiguousarray(before[:, layer, :, kind]))
        whole.invoke()
        rewired.invoke()
        np.testing.assert_array_equal(
            rewired.get_tensor(apart_result["index"]), whole.get_tensor(result["index"])
        )
        after = whole.get_tensor(next_state["index"])
        for (layer, kind), tensor in zip(PIECES, next_pieces, strict=True):
            np.testing.assert_array_equal(
                rewired.get_tensor(tensor["index"]), after[:, layer, :, kind]
            )


@pytest.mark.parametrize("name", ["ns-int8", "aec-128-int8"])
def test_a_file_that_is_not_understood_is_run_as_it_is(
    name: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mic, ref = scene(1.0)
    wanted = stream(load_processor(name), mic, ref)
    monkeypatch.setattr("pipedtln.dtln.runtime.take_apart", lambda content: None)
    np.testing.assert_array_equal(stream(load_processor(name), mic, ref), wanted)


def test_anything_else_is_left_alone(models: Path) -> None:
    content = locate_model("ns-int8").files[0].read_bytes()
    for other in (b"", b"not a flatbuffer" * 100, content[:1000], content[: len(content) // 2]):
        assert take_apart(other) is None


def test_buffers_stay_where_they_are(models: Path) -> None:
    path = locate_model("aec-128-int8").files[1]
    stage = LiteRuntime().stage(path, (512, 512), 512)
    interpreter = stage._one.invoke.__self__
    tensors = [*interpreter.get_input_details(), *interpreter.get_output_details()]

    def places() -> list[int]:
        return [interpreter.tensor(tensor["index"])().ctypes.data for tensor in tensors]

    before = places()
    noise = np.ones(512, np.float32)
    for _ in range(100):
        stage.run((noise, noise), np.empty(512, np.float32))
    stage.reset()
    assert places() == before


@pytest.mark.parametrize("shape", [(512,), (2, 512)])
def test_transforms_are_numpys(shape: tuple[int, ...]) -> None:
    sound = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    results = []
    for forward, inverse in (frames.transforms(), frames.public_transforms()):
        spectra = np.empty((*shape[:-1], frames.BINS), np.complex64)
        back = np.empty(shape, np.float32)
        forward(sound, spectra)
        inverse(spectra, back)
        results.append((spectra, back))
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-6)
