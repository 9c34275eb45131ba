"""Which network ``auto`` is: block-wise weights where they are here and not slow, else int8."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipedtln import networks as choice
from pipedtln.dtln.derive import missing_builders
from pipedtln.dtln.loader import locate_model, make_processor
from pipedtln.errors import ModelError
from pipedtln.networks import (
    RECORDING_ECHOES,
    RECORDING_QUIET,
    choose_for_recording,
    choose_model,
)


@pytest.mark.skipif(bool(missing_builders()), reason="onnxruntime or onnx is not installed")
@pytest.mark.parametrize(("dearest", "weights"), [(100.0, "block8"), (0.0, "int8")])
def test_auto_takes_block8_unless_it_is_slow_here(
    dearest: float, weights: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "DEAREST", dearest)
    monkeypatch.setattr(choice, "MOST_LOAD", 1000.0)
    assert choose_model("auto", True, 1).name == f"auto (ns-{weights} / aec-512-{weights})"
    assert choose_model("auto", False, 1).name == f"ns-{weights}"


def test_auto_takes_int8_where_onnxruntime_is_missing(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    name = choose_model("auto", True, 1).name
    assert name is not None
    assert name.startswith("auto (ns-int8 / aec-")
    assert name.endswith("-int8)")


def test_the_smallest_stays_where_all_are_too_slow(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "MOST_LOAD", 0.0)
    name = choose_model("auto", True, 1).name
    assert name is not None
    assert "/ aec-128-" in name


@pytest.mark.parametrize("reference", [True, False])
def test_a_recording_gets_the_most_exact_network_that_is_here(
    reference: bool, models: Path
) -> None:
    name = choose_for_recording("auto", reference).name
    assert name is not None
    quiet, _, echo = name.removeprefix("auto (").rstrip(")").partition(" / ")
    for found, order in ((quiet, RECORDING_QUIET), (echo, RECORDING_ECHOES)):
        if found:
            for better in order[: order.index(found)]:
                with pytest.raises(ModelError):
                    make_processor(locate_model(better))
    assert bool(echo) == reference
