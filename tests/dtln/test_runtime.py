"""A stage tells a file that is not its network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipedtln.dtln import locate_model
from pipedtln.dtln.runtime import LiteRuntime
from pipedtln.errors import ModelError


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"not a flatbuffer" * 100)
    with pytest.raises(ModelError, match=r"broken\.tflite cannot be loaded .* models fetch"):
        LiteRuntime().stage(path, (257,), 257)


def test_the_other_stage_is_refused(models: Path) -> None:
    first, second = locate_model("ns-int8").files
    with pytest.raises(ModelError, match="is not the network stage"):
        LiteRuntime().stage(second, (257,), 257)
    with pytest.raises(ModelError, match="is not the network stage"):
        LiteRuntime().stage(first, (257, 257), 257)


def test_without_a_runtime_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # None in sys.modules is how Python itself marks a module as not importable.
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", None)
    with pytest.raises(ModelError, match="pip install ai-edge-litert"):
        LiteRuntime()


def test_tflite_runtime_serves_where_it_alone_is_installed(
    monkeypatch: pytest.MonkeyPatch, models: Path
) -> None:
    from ai_edge_litert import interpreter

    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", interpreter)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", interpreter)
    runtime = LiteRuntime()
    assert runtime.name == "tflite_runtime"
    runtime.stage(locate_model("ns-int8").files[0], (257,), 257)


def test_the_runtimes_greeting_stays_off_the_terminal_and_nothing_else(models: Path) -> None:
    code = (
        "import os\n"
        "from pipedtln import load_processor\n"
        "from pipedtln.dtln.chatter import greeting_logged\n"
        "load_processor('ns-float')\n"
        "with greeting_logged():\n"
        "    os.write(2, b'INFO: hello\\nERROR: look\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "ERROR: look\n"
