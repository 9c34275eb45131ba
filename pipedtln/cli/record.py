"""``pipedtln record``: what a bug report about sound needs, from one moment."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipedtln.errors import DeviceError, InputError, PipedtlnError

if TYPE_CHECKING:
    from pipedtln.control.api import Status
    from pipedtln.control.client import BridgeClient

_CAPTIONS = {
    "mic": "microphone",
    "reference": "reference: what the loudspeakers play",
    "clean": "DTLN Microphone",
}
_SETTLE_S = 1.0
"""The streams' first moments are not what an app hears later."""
_SPARE_S = 5.0


@click.command(
    epilog="""\
\b
Examples:
  pipedtln record                          ten seconds into a new folder
  pipedtln record --seconds 30 -o report
"""
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 600),
    default=10.0,
    show_default=True,
    help="How long to record.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where the files go; by default a new folder here, named by the time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def record(seconds: float, folder: Path | None, as_json: bool) -> None:
    """Record microphone, reference and result of one moment.

    Writes mic.wav, reference.wav and clean.wav, sample beside sample, the status as status.json,
    and overview.png where matplotlib is installed: levels, spectrograms, echo delay, suppression,
    latency, and DNSMOS where speechmos is installed. What is said meanwhile is in it:
    listen before you pass it on.
    """
    from pipedtln.control.client import BridgeClient, ask
    from pipedtln.control.wire import status_to_json

    ask(BridgeClient.status)  # one that does not run is told before anything else
    folder = folder or Path(time.strftime("pipedtln-%Y%m%d-%H%M%S"))
    if not as_json:
        click.echo(f"Recording {seconds:g} s: speak as you do when it goes wrong ...", err=True)

    async def work(client: BridgeClient) -> tuple[list[Path], Status]:
        files = await client.record(seconds, folder)
        return files, await client.status()

    listener = _Listener(seconds)
    listener.start()
    time.sleep(_SETTLE_S)
    try:
        files, status = ask(work)
    except DeviceError as error:
        raise listener.failure or error from None
    told = folder / "status.json"
    try:
        told.write_text(status_to_json(status) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write {told}: {error.strerror or error}; choose another folder with -o"
        ) from error
    files = [*files, told, *_draw(files, status, folder / "overview.png")]
    if as_json:
        click.echo(json.dumps({"files": [str(path) for path in files]}, indent=2))
    else:
        for path in files:
            click.echo(str(path))


class _Listener(threading.Thread):
    """Records DTLN Microphone meanwhile: the bridge is at work only while somebody does.

    A daemon, since it is of no further use once the bridge has answered.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(name="pipedtln-record", daemon=True)
        self._seconds = seconds + _SPARE_S
        self.failure: PipedtlnError | None = None

    def run(self) -> None:
        """Record and forget."""
        from pipedtln.devices.names import MICROPHONE
        from pipedtln.install.proof import record_level

        try:
            record_level(MICROPHONE, self._seconds, timeout=self._seconds + _SPARE_S)
        except PipedtlnError as error:
            self.failure = error


def _draw(files: list[Path], status: Status, picture: Path) -> list[Path]:
    """The picture, where it can be drawn; nothing is lost without."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    from pipedtln.overview import draw_overview, facts
    from pipedtln.plots import Panel
    from pipedtln.rating import dnsmos

    sounds = {path.stem: path for path in files if path.suffix == ".wav"}
    rated = {name: dnsmos(sounds[name]) for name in ("mic", "clean") if name in sounds}
    ratings: dict[str, float] = {
        name: rating for name, rating in rated.items() if rating is not None
    }
    lines = facts(status, ratings if len(ratings) == 2 else None)
    panels = [Panel(_CAPTIONS.get(name, name), path) for name, path in sounds.items()]
    draw_overview(panels, lines, picture)
    return [picture]
