"""Setup on a real server makes a microphone; teardown leaves exactly what was there before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pipedtln import configfile, configmigrate
from pipedtln.audio.server import connect
from pipedtln.config import Config, load
from pipedtln.configfile import config_path
from pipedtln.demo.servers import PrivatePipeWire, PrivateServer
from pipedtln.devices.defaults import get_defaults, set_default_sink, set_default_source
from pipedtln.devices.names import MICROPHONE, SPEAKER
from pipedtln.errors import ConfigError, InstallError, ServerError
from pipedtln.install.choice import is_automatic, is_chosen, make_automatic
from pipedtln.install.journal import Journal, journal_path
from pipedtln.install.step import Wish
from pipedtln.install.story import STEPS, rehearse, setup, teardown
from tests.install.conftest import wait_until

pytestmark = pytest.mark.timeout(120)

WISH = Wish(set_default=True, service=False)
NO_PROOF = tuple(step for step in STEPS if step.name != "proof")
WANTED = tuple(step for step in STEPS if step.name not in ("unit", "start"))
NOTED = ("config", "drop-ins", "devices", "defaults", "desktop")
"""Steps of WISH that write something into the journal."""


class Listener:
    """Hears what setup tells; may interrupt it before or after a step, as Ctrl-C does."""

    def __init__(self, before: str = "", after: str = "") -> None:
        self.before = before
        self.after = after
        self.title = ""
        self.told: list[str] = []
        self.notes: list[str] = []

    def begin(self, title: str) -> None:
        self.title = title
        if title == self.before:
            raise KeyboardInterrupt

    def end(self, result: str) -> None:
        self.told.append(f"{self.title}: {result}")
        if self.title == self.after:
            raise KeyboardInterrupt

    def fail(self) -> None:
        self.told.append(f"{self.title}: failed")

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, label: str, done: int, total: int | None) -> None:
        pass


@pytest.fixture
def desktop(server: PrivateServer, models: Path, monkeypatch: pytest.MonkeyPatch) -> PrivateServer:
    """A private server whose environment is this process's own."""
    for name in list(os.environ):
        if name not in server.env:
            monkeypatch.delenv(name)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIPEDTLN_MODELS_DIR", str(models))
    return server


def snapshot(desktop: PrivateServer) -> dict[str, Any]:
    """All that setup might change: files, modules, devices, defaults."""
    foreign = ("config/pulse/", "state/wireplumber", "config/wireplumber")
    files = {}
    for path in sorted(desktop.home.rglob("*")):
        name = str(path.relative_to(desktop.home)).replace(".local/state", "state")
        if not any(part in name.replace(".config", "config") + "/" for part in foreign):
            files[name] = path.read_bytes() if path.is_file() else None
    with connect() as pulse:
        return {
            "files": {name: data for name, data in files.items() if data is not None},
            "modules": [(raw.name, raw.argument) for raw in pulse.module_list()],
            "sources": sorted(raw.name for raw in pulse.source_list()),
            "sinks": sorted(raw.name for raw in pulse.sink_list()),
            "defaults": get_defaults(pulse),
        }


def defaults() -> tuple[str | None, str | None]:
    with connect() as pulse:
        now = get_defaults(pulse)
    return now.source, now.sink


@contextmanager
def interrupted_once_noted(step: str) -> Iterator[None]:
    """Raise KeyboardInterrupt when the step has written a deed down and not yet done it."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if code.co_name != "note" or not code.co_filename.endswith("install/journal.py"):
            return None
        if event == "return" and frame.f_locals["deed"].get("step") == step:
            raise KeyboardInterrupt
        return trace

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(old)


def test_setup_makes_the_devices_and_teardown_leaves_what_was(desktop: PrivateServer) -> None:
    before = snapshot(desktop)
    listener = Listener()
    setup(WISH, listener)
    assert defaults() == (MICROPHONE, SPEAKER)
    assert load(environment={}) == Config()
    assert any("Record from DTLN Microphone: it delivers sound" in line for line in listener.told)

    assert teardown(Wish(purge=True), Listener())
    assert snapshot(desktop) == before


def test_a_tray_that_starts_at_login_comes_and_goes(desktop: PrivateServer) -> None:
    before = snapshot(desktop)
    setup(Wish(service=False, tray=True), Listener(), NO_PROOF)
    (entry,) = desktop.config_home.glob("autostart/*.desktop")
    assert "pipedtln" in entry.read_text()
    setup(Wish(service=False), Listener(), NO_PROOF)
    assert entry.exists()
    teardown(Wish(purge=True), Listener())
    assert snapshot(desktop) == before


def test_setup_twice_changes_nothing_more(desktop: PrivateServer) -> None:
    setup(WISH, Listener(), NO_PROOF)
    once = snapshot(desktop)
    setup(WISH, Listener(), NO_PROOF)
    assert snapshot(desktop) == once


def test_the_devices_alone_leave_the_defaults_alone(desktop: PrivateServer) -> None:
    before = defaults()
    setup(Wish(service=False), Listener(), NO_PROOF)
    assert defaults() == before
    teardown(Wish(), Listener())
    assert defaults() == before


def test_a_rehearsal_changes_nothing(desktop: PrivateServer) -> None:
    before = snapshot(desktop)
    told = rehearse(WISH, Listener())
    assert any("fake_speaker" in line for line in told)
    assert snapshot(desktop) == before


def test_a_teardown_without_purge_keeps_the_settings(desktop: PrivateServer) -> None:
    setup(Wish({"strength": 70}, service=False), Listener(), NO_PROOF)
    teardown(Wish(), Listener())
    assert load(environment={}).strength == 70
    assert not journal_path().exists()


def test_options_change_an_existing_config_and_keep_its_comments(desktop: PrivateServer) -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_text("# mine\nstrength = 30 # soft\n")
    setup(Wish({"reference": "none"}, service=False), Listener(), NO_PROOF)
    assert config_path().read_text() == '# mine\nstrength = 30 # soft\nreference = "none"\n'


def test_settings_of_an_earlier_release_are_upgraded_and_purged_with_what_was_kept(
    desktop: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(desktop)
    monkeypatch.setattr(configfile, "FORMAT", 2)
    monkeypatch.setitem(
        configmigrate.STEPS,
        1,
        lambda settings: configmigrate.rename(settings, "amount", "strength"),
    )
    path = config_path()
    path.parent.mkdir(parents=True)
    path.write_text("# mine\nversion = 1\namount = 70  # percent\n")
    kept = path.with_name("config.toml.version-1")
    for at in ({"before": "Write the settings"}, {"after": "Write the settings"}, {}):
        listener = Listener(**at)
        with suppress(KeyboardInterrupt):
            setup(Wish(service=False), listener, NO_PROOF)
    assert load(environment={}).strength == 70
    assert path.read_text() == "# mine\nversion = 2\nstrength = 70  # percent\n"
    assert kept.read_text() == "# mine\nversion = 1\namount = 70  # percent\n"
    teardown(Wish(), Listener())
    assert (path.exists(), kept.exists()) == (True, True)
    teardown(Wish(purge=True), Listener())
    assert snapshot(desktop) == before
    assert not path.parent.exists()


def test_a_broken_config_stops_setup_before_it_does_anything(desktop: PrivateServer) -> None:
    config_path().parent.mkdir(parents=True)
    config_path().write_text("modle = 3\n")
    before = snapshot(desktop)
    with pytest.raises(ConfigError, match="line 1"):
        setup(WISH, Listener())
    assert snapshot(desktop) == before


def test_a_broken_config_does_not_stop_teardown(desktop: PrivateServer) -> None:
    before = snapshot(desktop)
    setup(WISH, Listener(), NO_PROOF)
    config_path().write_text("broken = = 3\n")
    teardown(Wish(purge=True), Listener())
    assert snapshot(desktop) == before


def test_a_default_that_the_user_chose_since_stays(desktop: PrivateServer) -> None:
    setup(WISH, Listener(), NO_PROOF)
    with connect() as pulse:
        set_default_source(pulse, "fake_speaker.monitor")
    teardown(Wish(), Listener())
    assert defaults() == ("fake_speaker.monitor", "fake_speaker")


def test_a_default_that_is_gone_is_left_to_the_server(desktop: PrivateServer) -> None:
    with connect() as pulse:
        module = pulse.module_load("module-null-sink", "sink_name=headset norewinds=1")
        wait_until(lambda: "headset" in {sink.name for sink in pulse.sink_list()}, "headset")
        set_default_sink(pulse, "headset")
        setup(WISH, Listener(), NO_PROOF)
        pulse.module_unload(module)
    listener = Listener()
    teardown(Wish(), listener)
    assert any("headset, is not there" in note for note in listener.notes)
    assert defaults() == ("fake_mic", "fake_speaker")


@pytest.mark.pipewire
def test_a_default_that_nobody_chose_is_not_chosen_by_teardown(
    pipewire: PrivatePipeWire, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in pipewire.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIPEDTLN_MODELS_DIR", str(models))
    for kind in ("source", "sink"):
        assert not is_automatic(kind)
        assert make_automatic(kind)
        assert is_automatic(kind)
    setup(WISH, Listener(), NO_PROOF)
    assert defaults() == (MICROPHONE, SPEAKER)
    assert not is_automatic("sink")
    assert is_chosen("sink", SPEAKER)
    # The devices go with the server, the choice stays; setup is run again.
    pipewire.restart()
    for kind, ours in (("source", MICROPHONE), ("sink", SPEAKER)):
        subprocess.run(
            ["pw-metadata", "0", f"default.configured.audio.{kind}", json.dumps({"name": ours})],
            check=True, capture_output=True,
        )  # fmt: skip
    setup(WISH, Listener(), NO_PROOF)
    teardown(Wish(), Listener())
    assert is_automatic("source")
    assert is_automatic("sink")
    assert defaults()[0] != MICROPHONE


def test_devices_of_others_with_similar_names_stay(desktop: PrivateServer) -> None:
    with connect() as pulse:
        pulse.module_load("module-null-sink", "sink_name=pipedtln_speaker2")
        pulse.module_load("module-null-sink", "sink_name=my_pipedtln_microphone")
    before = snapshot(desktop)
    setup(WISH, Listener(), NO_PROOF)
    teardown(Wish(purge=True), Listener())
    assert snapshot(desktop) == before


def test_a_second_teardown_finds_nothing(desktop: PrivateServer) -> None:
    setup(WISH, Listener(), NO_PROOF)
    assert teardown(Wish(), Listener())
    assert not teardown(Wish(), Listener())


def test_devices_that_are_there_without_a_journal_are_removed(desktop: PrivateServer) -> None:
    before = snapshot(desktop)
    setup(Wish(service=False), Listener(), NO_PROOF)
    journal_path().unlink()
    assert teardown(Wish(), Listener())
    after = snapshot(desktop)
    assert (after["modules"], after["defaults"]) == (before["modules"], before["defaults"])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", WANTED, ids=lambda one: one.name)
def test_ctrl_c_at_every_step_is_completed_and_undone(
    desktop: PrivateServer, step: Any, when: str
) -> None:
    interrupt(desktop, lambda: setup(WISH, Listener(**{when: step.title})))


@pytest.mark.parametrize("name", NOTED)
def test_ctrl_c_between_noting_and_doing_is_completed_and_undone(
    desktop: PrivateServer, name: str
) -> None:
    def act() -> None:
        with interrupted_once_noted(name):
            setup(WISH, Listener(), NO_PROOF)

    interrupt(desktop, act)


def interrupt(desktop: PrivateServer, act: Callable[[], object]) -> None:
    """After an interruption teardown undoes, and setup completes what is then undone too."""
    before = snapshot(desktop)
    with suppress(KeyboardInterrupt):
        act()
    teardown(Wish(purge=True), Listener())
    assert snapshot(desktop) == before

    with suppress(KeyboardInterrupt):
        act()
    setup(WISH, Listener(), NO_PROOF)
    assert defaults() == (MICROPHONE, SPEAKER)
    teardown(Wish(purge=True), Listener())
    assert snapshot(desktop) == before


@pytest.mark.parametrize("step", [one for one in STEPS if one.undo_title], ids=lambda one: one.name)
def test_ctrl_c_at_every_step_of_teardown_is_completed(desktop: PrivateServer, step: Any) -> None:
    before = snapshot(desktop)
    for when in ("before", "after"):
        setup(WISH, Listener(), NO_PROOF)
        with pytest.raises(KeyboardInterrupt):
            teardown(Wish(purge=True), Listener(**{when: step.undo_title}))
        teardown(Wish(purge=True), Listener())
        assert snapshot(desktop) == before


@pytest.mark.pipewire
def test_drop_ins_make_the_devices_at_the_next_login(
    pipewire: PrivatePipeWire, models: Path
) -> None:
    def pipedtln(*arguments: str) -> subprocess.CompletedProcess[str]:
        root = str(Path(__file__).resolve().parents[2])
        return subprocess.run(
            [sys.executable, "-m", "pipedtln", *arguments],
            env={**pipewire.env, "PYTHONPATH": root, "PIPEDTLN_MODELS_DIR": str(models)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = pipedtln("setup", "--no-service", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    pipewire.restart()
    own = json.loads(pipedtln("devices", "--json").stdout)["own"]
    # Without the service DTLN Speaker would be silent: it is not made at login.
    assert {one["name"] for one in own} == {"pipedtln_microphone", "pipedtln_out"}
    done = pipedtln("teardown", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(pipedtln("devices", "--json").stdout)["own"] == []
    pipewire.restart()
    assert json.loads(pipedtln("devices", "--json").stdout)["own"] == []


def test_a_server_that_is_gone_keeps_the_defaults_for_the_next_teardown(
    desktop: PrivateServer,
) -> None:
    setup(WISH, Listener(), NO_PROOF)
    desktop.stop_server()
    with pytest.raises(ServerError):
        teardown(Wish(), Listener())
    assert [deed["kind"] for deed in Journal.open().deeds] == ["default", "default"]
    desktop.start()
    teardown(Wish(), Listener())
    assert defaults() == ("fake_mic", "fake_speaker")
    assert not journal_path().exists()


def test_setup_without_a_server_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CONFIG", "STATE", "DATA", "CACHE"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/none")
    with pytest.raises(ServerError, match="no PulseAudio or PipeWire server answers"):
        setup(WISH, Listener())
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_written_is_one_error(
    desktop: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")
    with pytest.raises(InstallError, match=r"cannot write /proc/none/pipedtln/setup.json"):
        setup(WISH, Listener())
