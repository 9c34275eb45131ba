"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["tests.servers.fixtures"]

SHARED = Path(os.environ.get("PIPEDTLN_SHARED", Path(__file__).parents[2] / "shared"))
"""Folder beside the repository with recordings and copies of weights; it may be missing."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--long``."""
    parser.addoption("--long", action="store_true", help="also run the tests marked long")


LIVE = (
    "audio/test_portaudio.py",
    "audio/test_tone.py",
    "demo/test_demo.py::test_echo",
    "live/test_clean_microphone.py",
    "live/test_delays.py",
    "service/test_idle.py::test_first_sound",
    "service/test_pace.py",
    "service/test_stall.py",
)
"""Where tests listen to sound or the clock so closely that nothing should run beside them."""
COMPUTES = (
    "cli/test_models.py",
    "cli/test_process.py",
    "dtln/",
    "files/",
    "stream/",
    "test_networks.py",
)
"""Where tests need nothing but a processor: they may have what the live ones leave of it."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark live and computing tests, and leave the long ones out unless they are asked for."""
    here = Path(__file__).parent
    for item in items:
        name = f"{item.path.relative_to(here).as_posix()}::{item.name}"
        for places, marker in ((LIVE, "live"), (COMPUTES, "computes")):
            if name.startswith(places):
                item.add_marker(marker)
    if config.getoption("--long"):
        return
    kept = [item for item in items if not item.get_closest_marker("long")]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[i for i in items if i.get_closest_marker("long")])
        items[:] = kept


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the weights of every model, fetched or built where they are not on the machine.

    ``PIPEDTLN_MODELS_DIR`` names it for the session, so that it serves child processes with
    folders of their own, too.
    """
    from pipedtln.dtln.derive import missing_builders
    from pipedtln.dtln.fetch import fetch_models
    from pipedtln.dtln.manifest import load_manifest
    from pipedtln.dtln.store import FOLDER_VARIABLE, Store

    store = Store.from_environment()
    if store.folder is None and (SHARED / "models").is_dir():
        store = Store(store.cache, SHARED / "models")
    folder = tmp_path_factory.mktemp("models")
    known = load_manifest().models.values()
    names = [m.name for m in known if m.pairs or not missing_builders(m.precision)]
    for located in fetch_models(names, store=store):
        place = folder / located.model.name
        if located.model.derived_from is not None:
            place.symlink_to(located.files[0].parent)
            continue
        place.mkdir()
        for stage, file in enumerate(located.files, start=1):
            (place / f"stage_{stage}.tflite").symlink_to(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(folder))
        yield folder


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without weights, without npm, and without a way to the web; gives the cache."""
    monkeypatch.delenv("PIPEDTLN_MODELS_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path / "data/pipedtln/models"
