"""Weights are known by their hash, wherever they lie and whatever they are called."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipedtln.dtln import EchoCanceller, NoiseSuppressor, load_processor, locate_model
from pipedtln.dtln.manifest import load_manifest
from pipedtln.dtln.store import PARTIAL, Store
from pipedtln.errors import ModelError
from tests.dtln.toys import file_of, model_of, weights

ONE, TWO, OTHER_ONE, OTHER_TWO = (weights(seed) for seed in range(4))
MODEL = model_of(
    "toy",
    (file_of(ONE, package="a_1.tflite"), file_of(TWO, package="a_2.tflite")),
    (
        file_of(OTHER_ONE, git_blob_only=True, web="b_1.tflite"),
        file_of(OTHER_TWO, git_blob_only=True, web="b_2.tflite"),
    ),
)


def lay(folder: Path, **files: bytes) -> None:
    for name, data in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_finds_files_in_any_layout_under_any_name(tmp_path: Path) -> None:
    lay(tmp_path / "mine", deep__down__x=ONE, y=TWO, noise=b"z" * 3000)
    located = Store(tmp_path / "cache", tmp_path / "mine").find(MODEL)
    assert located is not None
    assert not located.alternate
    assert [path.read_bytes() for path in located.files] == [ONE, TWO]


def test_the_users_folder_comes_before_the_cache(tmp_path: Path) -> None:
    lay(tmp_path, mine__x=ONE, mine__y=TWO, cache__x=ONE, cache__y=TWO)
    located = Store(tmp_path / "cache", tmp_path / "mine").find(MODEL)
    assert located is not None
    assert {path.parent for path in located.files} == {tmp_path / "mine"}


def test_the_canonical_pair_comes_before_an_alternate(tmp_path: Path) -> None:
    files = {"b_1.tflite": OTHER_ONE, "b_2.tflite": OTHER_TWO}
    lay(tmp_path, **files)
    located = Store(tmp_path).find(MODEL)
    assert located is not None
    assert located.alternate
    lay(tmp_path, x=ONE, y=TWO)
    located = Store(tmp_path).find(MODEL)
    assert located is not None
    assert not located.alternate


def test_halves_of_different_pairs_do_not_make_one(tmp_path: Path) -> None:
    lay(tmp_path, **{"x.tflite": ONE, "b_2.tflite": OTHER_TWO})
    assert Store(tmp_path).find(MODEL) is None


def test_a_damaged_file_is_not_found(tmp_path: Path) -> None:
    lay(tmp_path, x=ONE[:-1] + bytes([ONE[-1] ^ 1]), y=TWO)
    store = Store(tmp_path)
    assert store.find(MODEL) is None
    with pytest.raises(ModelError, match="pipedtln models fetch toy"):
        store.require(MODEL)


def test_what_a_fetch_has_not_finished_is_not_found(tmp_path: Path) -> None:
    lay(tmp_path / PARTIAL, x=ONE, y=TWO)
    assert Store(tmp_path).find(MODEL) is None


def test_dangling_links_do_not_matter(tmp_path: Path) -> None:
    lay(tmp_path, x=ONE, y=TWO)
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    assert Store(tmp_path).find(MODEL) is not None


def test_the_environment_names_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    store = Store.from_environment({"PIPEDTLN_MODELS_DIR": str(tmp_path)})
    assert (store.folder, store.cache) == (tmp_path, tmp_path / "data/pipedtln/models")
    assert Store.from_environment({}).folder is None
    with caplog.at_level(logging.WARNING):
        assert Store.from_environment({"PIPEDTLN_MODELS_DIR": str(tmp_path / "no")}).folder is None
    assert "PIPEDTLN_MODELS_DIR names" in caplog.text


def test_auto_takes_the_best_that_is_here(models: Path, tmp_path: Path) -> None:
    names = tuple(load_manifest().models)

    def have(*names: str) -> Store:
        folder = tmp_path / "-".join(names)
        folder.mkdir()
        for name in names:
            (folder / name).mkdir()
            for file in (models / name).iterdir():
                (folder / name / file.name).symlink_to(file)
        return Store(folder)

    everything = have(*(name for name in names if not name.endswith("block8")))
    assert locate_model(store=everything).model.name == "aec-256-row8"
    assert locate_model(reference=False, store=everything).model.name == "ns-row8"
    published = have(*(name for name in names if not name.endswith(("block8", "row8"))))
    assert locate_model(store=published).model.name == "aec-256-int8"
    assert locate_model(reference=False, store=published).model.name == "ns-int8"
    assert locate_model(store=have("ns-int8", "aec-128-float")).model.name == "aec-128-float"
    assert locate_model(reference=False, store=have("aec-128-int8")).model.name == "aec-128-int8"
    assert isinstance(load_processor(store=everything), EchoCanceller)
    assert isinstance(load_processor("auto", store=have("ns-float")), NoiseSuppressor)
    with pytest.raises(ModelError, match=r"no weights .* pipedtln models fetch"):
        load_processor(store=Store(tmp_path / "empty"))
