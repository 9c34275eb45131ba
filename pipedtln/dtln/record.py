"""Tells whether a model that was built on this machine is whole: hashes beside its files."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from pipedtln.dtln import blockwise, rowwise
from pipedtln.dtln.manifest import digest

FILES = {
    "block8": (("stage_1.onnx", "pair_1.onnx"), ("stage_2.onnx", "pair_2.onnx")),
    "row8": (
        ("stage_1.tflite", "pair_1.tflite", "four_1.tflite"),
        ("stage_2.tflite", "pair_2.tflite", "four_2.tflite"),
    ),
}
"""Names of what is built of each stage, by precision: the stage, and the same for two frames at a
time, and for four."""
FORMATS = {"block8": blockwise.FORMAT, "row8": rowwise.FORMAT}
RECORD = "built.json"

_log = logging.getLogger(__name__)


def write_record(folder: Path, precision: str) -> None:
    """Note the SHA-256 of all stages in a folder, and the format that they were built in.

    Raises
    ------
    OSError
        If a file cannot be read or the record not be written.
    """
    hashes = {name: digest(folder / name) for names in FILES[precision] for name in names}
    record = {"format": FORMATS[precision], "sha256": hashes}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def whole_files(folder: Path, precision: str) -> tuple[Path, Path] | None:
    """Both stages in a folder, if they are those of the record and built as they are built now."""
    files = [[folder / name for name in names] for names in FILES[precision]]
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record == {
            "format": FORMATS[precision],
            "sha256": {path.name: digest(path) for paths in files for path in paths},
        }:
            return files[0][0], files[1][0]
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s cannot be read and is passed over: %s", folder, error)
        return None
    _log.info("%s is damaged or of another format; passed over", folder)
    return None
