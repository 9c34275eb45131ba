"""Settings come from file, environment and options, and a wrong one is named with its place."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import tomlkit

from pipedtln.config import (
    KEYS,
    Config,
    check,
    from_environment,
    from_options,
    load,
    parse,
    resolve,
)
from pipedtln.configfile import config_path, default_text, read, save_key
from pipedtln.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_every_field_of_the_config_is_a_documented_key_with_the_same_default() -> None:
    assert {key.name: (key.type, key.default) for key in KEYS.values()} == {
        field.name: (type(field.default), field.default) for field in fields(Config)
    }
    for key in KEYS.values():
        assert key.help.endswith(".")
        assert check(key.name, key.default) == key.default


def test_default_file_reads_back_as_the_defaults_and_explains_every_key(file: Path) -> None:
    file.write_text(default_text())
    assert resolve(read(file)) == Config()
    text = file.read_text()
    for key in KEYS.values():
        assert f"# {key.help}\n" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_missing_file_means_defaults_unless_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load(environment={}) == Config()
    with pytest.raises(ConfigError, match=r"no config file .*pipedtln setup"):
        load(tmp_path / "none.toml", environment={})


def test_config_lies_in_the_xdg_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert config_path() == tmp_path / "pipedtln" / "config.toml"


def test_options_win_over_environment_over_file_over_defaults(file: Path) -> None:
    file.write_text('mic = "file"\nmodel = "file"\nreference = "file"\n')
    config = load(
        file,
        {"PIPEDTLN_MODEL": "env", "PIPEDTLN_REFERENCE": "env", "PIPEDTLN_STRENGTH": ""},
        {"reference": "option", "mic": None},
    )
    assert (config.mic, config.model, config.reference) == ("file", "env", "option")
    assert config.strength == Config().strength


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('\n\nmodle = "x"', "unknown key 'modle' on line 3 of {file}; did you mean 'model'?"),
        (
            "log-level = 'info'",
            "unknown key 'log-level' on line 1 of {file}; did you mean 'log_lev",
        ),
        ("zzz = 1", "unknown key 'zzz' on line 1 of {file}; valid keys: mic, mic_channel"),
        ("[audio]\nmic='x'", "unknown key 'audio' on line 1 of {file}"),
        (
            "strength = 101",
            "strength on line 1 of {file} must be a whole number from 0 to 100, not 1",
        ),
        ("strength = true", "strength on line 1 of {file} must be a whole number"),
        ("strength = 50.0", "strength on line 1 of {file} must be a whole number"),
        ('strength = "50"', "strength on line 1 of {file} must be a whole number"),
        ("bypass = 1", "bypass on line 1 of {file} must be true or false, not 1"),
        ("mic = 3", "mic on line 1 of {file} must be a text in quotes, not 3"),
        ("mic = ''", "mic = '' on line 1 of {file} is empty"),
        ("mic = 'pipedtln_microphone'", "would feed pipedtln its own sound"),
        ("output = 'pipedtln_speaker'", "would play DTLN Speaker into itself"),
        ("reference = 'channel:x'", 'is no channel; write "channel:" and a number'),
        ("reference = 'pipedtln_out'", "is pipedtln's own device"),
        ("model = '../../etc'", "is no model name"),
        (
            "log_level = 'infos'",
            "one of debug, info, warning, error, not 'infos'; did you mean 'info'",
        ),
        ("mic = 'a'\nmic = 'b'", "{file} is not TOML"),
        ("threads = 1\nmic = unquoted", "line 2 of {file} is not TOML"),
        ("version = 99", "written by a newer pipedtln (version 99"),
        ("version = 'one'", "version on line 1 of {file} must be 1"),
    ],
)
def test_a_wrong_file_is_one_line_with_file_and_line(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert message.format(file=file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_utf8_is_named_with_the_line(file: Path) -> None:
    file.write_bytes(b"# fine\nmic = '\xff\xfe'\n")
    with pytest.raises(ConfigError, match=f"line 2 of {file} is not UTF-8"):
        read(file)


def test_a_folder_in_the_files_place_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"cannot read {tmp_path}: Is a directory"):
        read(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfmic = 'x'\r\nstrength = 5\r\n")
    assert read(file) == {"mic": "x", "strength": 5}


@pytest.mark.parametrize("value", ["auto", "speaker", "none", "channel:-1", "channel:5", "a.b-c"])
def test_references_of_every_documented_shape_are_valid(value: str) -> None:
    assert check("reference", value) == value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("bypass", "On", True), ("muted", "no", False), ("strength", " 70%", 70), ("mic", "x", "x")],
)
def test_texts_of_the_command_line_are_understood(name: str, text: str, value: object) -> None:
    assert parse(name, text) == value


@pytest.mark.parametrize(("name", "text"), [("bypass", "maybe"), ("strength", "much")])
def test_texts_that_are_no_value_say_what_would_be(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be .*, not '{text}'"):
        parse(name, text)


def test_a_wrong_variable_and_a_wrong_option_are_named() -> None:
    with pytest.raises(ConfigError, match=r"threads \(from PIPEDTLN_THREADS\) must be"):
        from_environment({"PIPEDTLN_THREADS": "none"})
    with pytest.raises(ConfigError, match=r"threads \(from --threads\) must be"):
        from_options({"threads": 0})


def test_variables_of_other_purposes_are_left_alone() -> None:
    assert from_environment({"PIPEDTLN_DEBUG": "1", "PIPEDTLN_MODELS_DIR": "/x"}) == {}


def test_saving_a_key_keeps_comments_order_and_all_else(file: Path) -> None:
    before = '# mine\n\nstrength = 70   # not too much\nmic = "a"\n\n# the end\n'
    file.write_text(before)
    save_key("strength", 55, file)
    save_key("bypass", True, file)
    after = file.read_text()
    assert after.startswith(before.replace("70", "55").rstrip().split("# the end")[0])
    assert "# the end" in after
    assert tomlkit.parse(after).unwrap() == {"strength": 55, "mic": "a", "bypass": True}


def test_saving_into_the_default_file_changes_one_line(file: Path) -> None:
    file.write_text(default_text())
    before = file.read_text().splitlines()
    save_key("mic", 'odd "name" \\ with é', file)
    after = file.read_text().splitlines()
    changed = [new for new, old in zip(after, before, strict=True) if new != old]
    assert len(changed) == 1
    assert changed[0].startswith("mic = ")
    assert read(file)["mic"] == 'odd "name" \\ with é'


def test_saving_without_a_file_makes_the_commented_one(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.toml"
    save_key("strength", 40, file)
    assert file.read_text() == default_text({"strength": 40})


def test_a_refused_value_leaves_the_file_as_it_was(file: Path) -> None:
    file.write_text("# mine\n")
    with pytest.raises(ConfigError):
        save_key("strength", 400, file)
    assert file.read_text() == "# mine\n"


def test_a_broken_file_is_not_overwritten_by_saving(file: Path) -> None:
    file.write_text("mic = = 'x'\n")
    with pytest.raises(ConfigError, match="line 1"):
        save_key("strength", 40, file)
    assert file.read_text() == "mic = = 'x'\n"


def test_saving_keeps_a_symbolic_link_and_the_permissions(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text("strength = 1\n")
    real.chmod(0o600)
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    save_key("strength", 2, link)
    assert link.is_symlink()
    assert real.read_text() == "strength = 2\n"
    assert real.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml", "dotfiles.toml"]


def test_a_full_disk_is_one_line_and_the_old_file_stays() -> None:
    with pytest.raises(ConfigError, match=r"cannot write /proc/none/config.toml: .*; check"):
        save_key("strength", 2, Path("/proc/none/config.toml"))


def test_every_key_is_documented_with_its_default() -> None:
    table = (Path(__file__).parents[1] / "docs" / "config.md").read_text()
    for key in KEYS.values():
        default = str(key.default).lower() if key.type is bool else key.default
        assert f"| `{key.name}` | `{default}` |" in table
        assert key.help in table
