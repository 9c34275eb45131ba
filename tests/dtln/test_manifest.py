"""The shipped manifest says what the documentation promises; a broken one is refused."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from pipedtln.dtln.manifest import digest, load_manifest
from pipedtln.errors import ModelError
from pipedtln.resources import resource

NETWORKS = ("ns", "aec-128", "aec-256", "aec-512")
PUBLISHED = {f"{network}-{kind}" for network in NETWORKS for kind in ("int8", "float")}
DERIVED = {f"{network}-{kind}" for network in NETWORKS for kind in ("row8", "block8")}
NAMES = PUBLISHED | DERIVED


def test_it_describes_every_model() -> None:
    manifest = load_manifest()
    assert set(manifest.models) == NAMES
    for name, model in manifest.models.items():
        kind, *units, precision = name.split("-")
        assert (model.kind, model.precision) == (kind, precision)
        assert model.units == (int(units[0]) if units else 128)
        assert model.licence == "MIT"
        assert model.authors


def test_canonical_files_have_a_sha256_and_a_size() -> None:
    for name in PUBLISHED:
        for file in load_manifest().models[name].pairs[0].files:
            assert re.fullmatch(r"[0-9a-f]{64}", file.sha256 or "")
            assert file.bytes


def test_no_two_files_are_the_same() -> None:
    hashes = [
        file.sha256 or file.git_blob
        for model in load_manifest().models.values()
        for pair in model.pairs
        for file in pair.files
    ]
    assert len(set(hashes)) == len(hashes) == 32


def test_every_model_is_on_the_web_and_in_a_package() -> None:
    manifest = load_manifest()
    for model in (manifest.models[name] for name in PUBLISHED):
        kinds = [
            {manifest.sources[name].kind for pair in model.pairs for name in pair.files[i].paths}
            for i in (0, 1)
        ]
        assert kinds == [{"https", "npm"}, {"https", "npm"}]
    for source in manifest.sources.values():
        if source.kind == "https":
            assert re.fullmatch(r"https://\S+/[0-9a-f]{40}/", source.url), "pin the commit"


def test_what_is_derived_has_float_weights_for_a_source() -> None:
    manifest = load_manifest()
    for model in manifest.models.values():
        assert (model.name in DERIVED) == (model.derived_from is not None) == (not model.pairs)
        if model.derived_from is not None:
            assert model.derived_from == f"{model.name.rpartition('-')[0]}-float"


def test_default_is_what_a_busy_and_an_idle_machine_run() -> None:
    manifest = load_manifest()
    assert manifest.auto[:3] == ("aec-256-row8", "aec-256-block8", "aec-256-int8")
    assert set(manifest.auto) == NAMES
    assert manifest.default == ("ns-row8", "aec-512-row8", "aec-256-row8", "aec-128-row8")
    assert manifest.spare == ("ns-int8", "aec-512-int8", "aec-256-int8", "aec-128-int8")


def test_unknown_names_are_told_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no model named 'ns-int4'.*ns-int8, .*aec-512-float"):
        load_manifest().model("ns-int4")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("[[models]]", "[[models"), "Unexpected character"),
        (('kind = "npm"', 'kind = "ftp"'), "unknown kind 'ftp'"),
        (('kind = "aec"', 'kind = "eac"'), "unknown kind 'eac'"),
        (("units = 128\n", ""), "lacks 'units'"),
        (('auto = [\n  "aec-256-', 'auto = [\n  "aec-257-'), "named but not described"),
        (('derived_from = "ns-float"', 'derived_from = "ns-block8"'), "not to be had"),
        (('derived_from = "ns-float"', 'derived_from = "aec-128-float"'), "not to be had"),
        (("paths = { dtln-web =", "paths = { elsewhere ="), "unknown source"),
        (("bytes = 376672", "octets = 376672"), "octets"),
    ],
)
def test_a_broken_manifest_is_refused_in_one_line(
    change: tuple[str, str], why: str, tmp_path: Path
) -> None:
    text = resource("models", "manifest.toml").read_text(encoding="utf-8")
    assert change[0] in text
    path = tmp_path / "manifest.toml"
    path.write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(ModelError, match=why) as caught:
        load_manifest(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_digests_are_those_of_the_tools(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    assert digest(path) == hashlib.sha256(b"hello\n").hexdigest()
    # echo hello | git hash-object --stdin
    assert digest(path, as_git_blob=True) == "ce013625030ba8dba906f756967f9e9ca394464a"
