"""``pipedtln bench`` measures what is here, for people and for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pipedtln.cli.main import main
from pipedtln.dtln.cost import measure_cost
from pipedtln.dtln.loader import load_processor
from tests.dtln.sounds import scene, stream


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments])


@pytest.fixture
def two(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with two networks of very different size."""
    (tmp_path / "mine").mkdir()
    for name in ("ns-int8", "aec-512-float"):
        (tmp_path / "mine" / name).mkdir()
        for file in (models / name).iterdir():
            (tmp_path / "mine" / name / file.name).symlink_to(file)
    monkeypatch.setenv("PIPEDTLN_MODELS_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_json_tells_what_each_costs(two: None) -> None:
    result = run("--json", "--seconds", "0.5")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["hop_ms"] == 8
    assert told["auto"] == "auto (ns-int8 / aec-512-float)"
    small, large = told["models"]["ns-int8"], told["models"]["aec-512-float"]
    assert set(told["models"]) == {"ns-int8", "aec-512-float"}
    assert large["median_us"] > 3 * small["median_us"]
    for cost in (small, large):
        assert 0 < cost["median_us"] <= cost["p99_us"]
        assert cost["hops"] >= 50
        assert cost["load"] == pytest.approx(cost["median_us"] / 8000)
        assert cost["headroom"] == pytest.approx(1 / cost["load"])


def test_the_table_fits_a_terminal_and_draws_bars(two: None) -> None:
    result = run("--seconds", "0.5")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    (small,) = (line for line in lines if line.startswith("ns-int8"))
    (large,) = (line for line in lines if line.startswith("aec-512-float"))
    assert large.count("█") > small.count("█")
    assert "…" not in result.stdout
    assert lines[-1] == "A hop lasts 8 ms. auto takes: auto (ns-int8 / aec-512-float)"


def test_without_weights_it_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIPEDTLN_MODELS_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    result = run()
    assert result.exit_code == 5
    assert result.stderr.splitlines()[-1].endswith("pipedtln models fetch")


def test_a_measured_processor_is_as_new(models: Path) -> None:
    mic, ref = scene(0.3)
    processor = load_processor("ns-int8")
    measure_cost(processor, 0.05)
    np.testing.assert_array_equal(
        stream(processor, mic, ref), stream(load_processor("ns-int8"), mic, ref)
    )
