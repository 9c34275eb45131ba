"""Setup fetches the networks, and makes do with those that are here where no more are to be had."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipedtln.errors import ModelError
from pipedtln.install.journal import Journal
from pipedtln.install.models import FetchModels
from pipedtln.install.step import Scene, Wish
from tests.install.test_setup import Listener


@pytest.fixture
def offline(models: Path, fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for weights on a machine that reaches nobody."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv("PIPEDTLN_MODELS_DIR", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return folder


def scene() -> Scene:
    return Scene(Journal.open(), Wish(), Listener())


@pytest.mark.parametrize("weights", ["int8", "row8"])
def test_weights_that_are_here_are_enough_offline(
    weights: str, models: Path, offline: Path
) -> None:
    for network in ("ns", "aec-128", "aec-256", "aec-512"):
        shutil.copytree(models / f"{network}-{weights}", offline / f"{network}-{weights}")
    here = scene()
    told = FetchModels().do(here)
    assert isinstance(here.voice, Listener)
    if weights == "row8":
        assert (told, here.voice.notes) == ("they are here", [])
    else:
        assert told == "use ns-int8, aec-512-int8, aec-256-int8, aec-128-int8, as before"
        why = here.voice.notes[-1]
        assert why.startswith("no source gave ns-float")


def test_without_any_weights_offline_is_one_error(offline: Path) -> None:
    with pytest.raises(ModelError, match=r"no source gave ns-int8.* By hand: put"):
        FetchModels().do(scene())
