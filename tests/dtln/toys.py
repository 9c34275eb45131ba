"""A small manifest with made-up weights, and sources on this machine that publish them."""

from __future__ import annotations

import hashlib
import http.server
import io
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pipedtln.dtln.manifest import Manifest, Model, ModelFile, Pair, Source


def weights(seed: int, size: int = 3000) -> bytes:
    """Bytes that no other seed gives."""
    return np.random.default_rng(seed).bytes(size)


def file_of(data: bytes, *, git_blob_only: bool = False, **paths: str) -> ModelFile:
    if git_blob_only:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return ModelFile(paths, git_blob=blob)
    return ModelFile(paths, hashlib.sha256(data).hexdigest(), len(data))


def model_of(name: str, *pairs: tuple[ModelFile, ModelFile]) -> Model:
    return Model(name, "ns", 128, "int8", "MIT", "nobody", tuple(Pair(pair) for pair in pairs))


def manifest_of(url: str, *models: Model) -> Manifest:
    sources = (
        Source("web", "https", "MIT", "nobody", url=url),
        Source("package", "npm", "MIT", "nobody", package="toy", version="1.0.0"),
    )
    names = tuple(model.name for model in models)
    return Manifest(
        {model.name: model for model in models},
        {source.name: source for source in sources},
        default=names,
        spare=(),
        auto=names,
    )


class Web(http.server.ThreadingHTTPServer):
    """Serves ``files`` by path and notes what it was ``asked`` for."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.asked: list[str] = []
        self.announce: Callable[[bytes], int] = len
        """Content-Length of an answer; more than its length makes it break off."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        self.server.asked.append(path)
        data = self.server.files.get(path)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.announce(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def web(files: dict[str, bytes]) -> Iterator[Web]:
    """A server on the loopback interface."""
    server = Web(files)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tarball(path: Path, members: dict[str, bytes]) -> Path:
    """A package as npm packs it."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


_NPM = """#!{python}
import pathlib, shutil, sys, time
with open({calls!r}, "a") as calls:
    print(*sys.argv[1:], file=calls)
(folder,) = (a.partition("=")[2] for a in sys.argv if a.startswith("--pack-destination="))
{before}
shutil.copyfile({tarball!r}, pathlib.Path(folder, "toy-1.0.0.tgz"))
"""


class Npm:
    """A stand-in for the npm client, in a folder to be put on PATH."""

    def __init__(self, folder: Path, packed: Path, before: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._calls = folder / "calls.txt"
        script = folder / "npm"
        script.write_text(
            _NPM.format(
                python=sys.executable, calls=str(self._calls), tarball=str(packed), before=before
            )
        )
        script.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []
