"""Which network ``auto`` is: the best of its size that is here and not slow."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from pipedtln import networks as choice
from pipedtln.dtln.derive import missing_builders
from pipedtln.dtln.loader import locate_model, make_processor
from pipedtln.dtln.store import FOLDER_VARIABLE
from pipedtln.errors import ModelError
from pipedtln.networks import (
    RECORDING_ECHOES,
    RECORDING_QUIET,
    choose_for_recording,
    choose_model,
)
from pipedtln.processor import MOST_BATCH, batch_of
from pipedtln.stream.switch import NetworkSwitch


@pytest.fixture
def without_row8(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nobody has built those."""
    folder = tmp_path / "models"
    shutil.copytree(models, folder, symlinks=True, ignore=shutil.ignore_patterns("*-row8"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def weights_of_auto(dearest: float, monkeypatch: pytest.MonkeyPatch) -> str:
    """What ``auto`` takes on a machine that bears all, the same with a reference and without."""
    monkeypatch.setattr(choice, "DEAREST", dearest)
    monkeypatch.setattr(choice, "MOST_LOAD", 1000.0)
    quiet = choose_model("auto", False, 1).name
    assert quiet is not None
    weights = quiet.removeprefix("ns-")
    assert choose_model("auto", True, 1).name == f"auto (ns-{weights} / aec-512-{weights})"
    return weights


@pytest.mark.parametrize(("dearest", "weights"), [(100.0, "row8"), (0.0, "int8")])
def test_auto_takes_row8_unless_it_is_slow_here(
    dearest: float, weights: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights_of_auto(dearest, monkeypatch) == weights


@pytest.mark.skipif(bool(missing_builders()), reason="onnxruntime or onnx is not installed")
@pytest.mark.parametrize(("dearest", "weights"), [(100.0, "block8"), (0.0, "int8")])
def test_auto_takes_block8_where_row8_is_missing_unless_it_is_slow_here(
    dearest: float, weights: str, without_row8: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights_of_auto(dearest, monkeypatch) == weights


def test_auto_takes_int8_where_row8_and_onnxruntime_are_missing(
    without_row8: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    name = choose_model("auto", True, 1).name
    assert name is not None
    assert name.startswith("auto (ns-int8 / aec-")
    assert name.endswith("-int8)")


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_what_runs_first_takes_batches_where_they_come(
    batch: int, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "MOST_LOAD", 1000.0)
    switch = choose_model("auto", True, 1, batch=batch).processor
    assert isinstance(switch, NetworkSwitch)
    for far_end in (False, True):
        switch.far_end = far_end
        switch.reset()
        assert switch.batch == batch
    for name, takes in (("aec-128-row8", batch), ("aec-128-int8", 1)):
        processor = choose_model(name, True, 1, batch=batch).processor
        assert batch_of(processor) == takes


def test_float_cancels_echo_where_nothing_else_is_here(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ns-float", "aec-256-float"):
        shutil.copytree(models / name, tmp_path / name, symlinks=True)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert choose_model("auto", True, 1).name == "auto (ns-float / aec-256-float)"


def test_the_smallest_stays_where_all_are_too_slow(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "MOST_LOAD", 0.0)
    name = choose_model("auto", True, 1).name
    assert name is not None
    assert "/ aec-128-" in name


@pytest.mark.parametrize("reference", [True, False])
def test_a_recording_gets_the_best_network_that_is_here(reference: bool, models: Path) -> None:
    name = choose_for_recording("auto", reference).name
    assert name is not None
    quiet, _, echo = name.removeprefix("auto (").rstrip(")").partition(" / ")
    for found, order in ((quiet, RECORDING_QUIET), (echo, RECORDING_ECHOES)):
        if found:
            for better in order[: order.index(found)]:
                with pytest.raises(ModelError):
                    make_processor(locate_model(better))
    assert bool(echo) == reference


def test_a_recording_goes_through_in_batches_where_that_changes_nothing(models: Path) -> None:
    for wanted, reference, takes in (
        ("auto", True, MOST_BATCH),
        ("auto", False, MOST_BATCH),
        ("aec-128-row8", True, MOST_BATCH),
        ("aec-128-int8", True, 1),
    ):
        processor = choose_for_recording(wanted, reference).processor
        assert batch_of(processor) == takes, (wanted, reference)
