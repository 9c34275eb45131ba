"""Brings one file from a web server to a path, or says why not, soon."""

from __future__ import annotations

import http.client
import queue
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import urlsplit

from pipedtln import __version__

OPEN_TIMEOUT_S = 5.0
"""Until the first byte of an answer: name lookup, connection, TLS and all."""
READ_TIMEOUT_S = 20.0
"""Between two pieces of an answer."""
MAX_BYTES = 64 << 20
"""No file of a model is larger; guards against servers that answer with something else."""
_CHUNK = 1 << 16


class Progress(Protocol):
    """Hears how a fetch goes on; called from the thread that fetches."""

    def begin(self, what: str, total: int | None) -> None:
        """A transfer of ``total`` bytes (None: not known) starts; the last one is over."""

    def advance(self, done: int) -> None:
        """So many bytes of the transfer are here."""

    def note(self, text: str) -> None:
        """Something worth a line happened, such as a refused file."""


class SourceError(Exception):
    """A source did not give a file; the message is the reason, without the source's name."""


class UnreachableError(SourceError):
    """The whole server does not answer; asking it for other files is a waste of time."""


def host_of(url: str) -> str:
    """The server's name in a URL."""
    return urlsplit(url).netloc


def download(url: str, target: Path, expected: int | None, progress: Progress) -> None:
    """Write what a URL gives to a file.

    Parameters
    ----------
    expected : bytes; a longer answer is broken off; None where not known

    Raises
    ------
    UnreachableError
        If the server does not answer in time or breaks off.
    SourceError
        If it answers, but not with the file.
    OSError
        If the file cannot be written.
    """
    limit = expected or MAX_BYTES
    with _open(url) as response, target.open("wb") as file:
        length = response.headers.get("Content-Length")
        announced = int(length) if length and length.isdigit() else None
        progress.begin(target.name, expected or announced)
        done = 0
        while chunk := _read(response):
            done += len(chunk)
            if done > limit:
                raise SourceError(f"sends more than the {limit} bytes of {target.name}")
            file.write(chunk)
            progress.advance(done)
        if announced is not None and done < announced:
            raise UnreachableError(f"broke off after {done} of {announced} bytes")


def _open(url: str) -> http.client.HTTPResponse:
    """Open a URL within the time limit.

    The limit of a socket does not cover the lookup of names, which may hang far longer when
    offline; so the opening has a thread that is left to itself when it takes too long.
    """
    answers: queue.Queue[http.client.HTTPResponse | Exception] = queue.Queue()
    given_up = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, headers={"User-Agent": f"pipedtln/{__version__}"})
        try:
            response = urllib.request.urlopen(request, timeout=READ_TIMEOUT_S)
        except (OSError, http.client.HTTPException, ValueError) as error:
            answers.put(error)
            return
        answers.put(response)
        if given_up.is_set():
            response.close()

    threading.Thread(target=ask, name="pipedtln-open-url", daemon=True).start()
    try:
        answer = answers.get(timeout=OPEN_TIMEOUT_S)
    except queue.Empty:
        given_up.set()
        raise UnreachableError(f"no answer within {OPEN_TIMEOUT_S:g} s") from None
    if isinstance(answer, urllib.error.HTTPError):
        answer.close()
        raise SourceError(f"HTTP status {answer.code}") from answer
    if isinstance(answer, Exception):
        reason = answer.reason if isinstance(answer, urllib.error.URLError) else answer
        raise UnreachableError(f"no connection: {reason}") from answer
    return answer


def _read(response: IO[bytes]) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"broke off: {error}") from error
