"""The whole interface on a live bridge: told, steered, watched and recorded on real servers."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from pipedtln.control.client import BridgeClient
from pipedtln.demo.servers import PrivateServer
from pipedtln.monitor.app import MonitorApp
from tests.control.listening import until
from tests.control.notifications import NotificationDaemon
from tests.monitor.test_monitor import screen, shown
from tests.service.bridge import ROOT, RunningBridge
from tests.tray.desktop import Desktop
from tests.tray.test_tray import eventually


def pipedtln(
    server: PrivateServer, *arguments: str, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipedtln", *arguments],
        env={**server.env, "PYTHONPATH": str(ROOT)},
        cwd=server.folder,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_a_live_bridge_is_told_steered_and_recorded(server: PrivateServer) -> None:
    with RunningBridge(server) as bridge:
        bridge.wait_state("idle", "open")  # open: where there are no weights
        said = pipedtln(server, "status", "--json")
        assert said.returncode == 0, said.stderr
        assert json.loads(said.stdout)["mic"] == "fake_mic"
        assert pipedtln(server, "set", "strength", "60").returncode == 0
        assert pipedtln(server, "get", "strength").stdout == "60\n"
        assert "strength = 60" in (server.config_home / "pipedtln" / "config.toml").read_text()
        assert pipedtln(server, "bypass", "on", "--now-only").returncode == 0
        assert pipedtln(server, "bypass", "toggle", "--now-only").stdout == "bypass = off\n"

        said = pipedtln(server, "record", "--seconds", "2", "-o", "report", "--json")
        assert said.returncode == 0, said.stderr
        folder = server.folder / "report"
        names = {path.name for path in folder.iterdir()}
        assert names >= {"mic.wav", "reference.wav", "clean.wav", "status.json"}
        assert ("overview.png" in names) == (importlib.util.find_spec("matplotlib") is not None)
        lengths = {soundfile.info(path).frames for path in folder.glob("*.wav")}
        print(f"recorded {lengths} samples; {sorted(names)}")
        assert len(lengths) == 1
        assert 1.5 * 16_000 < lengths.pop() <= 2.1 * 16_000
        assert np.isfinite(soundfile.read(folder / "clean.wav")[0]).all()
        state = json.loads((folder / "status.json").read_text())["state"]
        assert state in {"running", "open"}

        async def watch() -> None:
            app = MonitorApp(server.bus_address)
            async with app.run_test(size=(80, 24)) as pilot:
                await until(lambda: "fake_mic" in shown(app, "devices"), "the microphone's name")
                await until(lambda: "▀" in "".join(screen(app)), "spectrograms")
                await pilot.press("m")
                await until(lambda: "MUTE" in shown(app, "steering"), "word of the mute")
            async with BridgeClient(server.bus_address) as client:
                assert (await client.status()).muted

        asyncio.run(watch())
        assert bridge.stop() == 0
    said = pipedtln(server, "status")
    assert said.returncode == 3


def test_an_unplugged_microphone_is_told_on_the_desktop(
    server: PrivateServer, models: Path
) -> None:
    async def check(bridge: RunningBridge) -> None:
        async with NotificationDaemon(server.bus_address) as daemon:
            with server.connect() as pulse:
                index = pulse.get_source_by_name("fake_mic").owner_module
                module = next(raw for raw in pulse.module_list() if raw.index == index)
                pulse.module_unload(index)
                took = await until(lambda: bool(daemon.standing), "notification", within_s=20)
                (shown,) = daemon.standing.values()
                print(f"told after {took:.1f} s: {shown.title}: {shown.body}")
                assert took > 4.5
                assert "lost its microphone" in shown.title
                pulse.module_load(module.name, module.argument)
                back = await until(lambda: not daemon.standing, "word that it is back", within_s=20)
                print(f"taken back {back:.1f} s after it was plugged in")
            assert await asyncio.to_thread(bridge.stop) == 0

    with RunningBridge(server) as bridge:
        assert bridge.wait_state("idle", timeout=60).mic == "fake_mic"
        asyncio.run(check(bridge))


def test_the_tray_steers_a_live_bridge(server: PrivateServer, models: Path) -> None:
    async def check(bridge: RunningBridge) -> None:
        async with Desktop(server.bus_address) as desktop:
            tray = subprocess.Popen([sys.executable, "-m", "pipedtln", "tray"], env=bridge.env)
            try:
                await until(lambda: bool(desktop.items), "item in the tray")
                with server.connect() as pulse:
                    description = pulse.get_source_by_name("fake_mic").description
                await eventually(desktop, f"Microphone/{description}", **{"toggle-state": 0})
                await desktop.click("Bypass")
                await eventually(desktop, "Bypass", **{"toggle-state": 1})
                assert (await asyncio.to_thread(bridge.status)).bypass
                await desktop.click(f"Microphone/{description}")
                await eventually(desktop, f"Microphone/{description}", **{"toggle-state": 1})
                assert pipedtln(server, "get", "mic").stdout == "fake_mic\n"
            finally:
                tray.terminate()
                assert await asyncio.to_thread(tray.wait, 10) == 0

    with RunningBridge(server) as bridge:
        bridge.wait_state("idle", "open")
        asyncio.run(check(bridge))


def test_record_without_a_service_names_the_command(server: PrivateServer) -> None:
    said = pipedtln(server, "record", "--seconds", "1")
    assert said.returncode == 3
    assert "systemctl --user start pipedtln" in said.stderr
    assert not [path for path in server.folder.iterdir() if path.name.startswith("pipedtln-")]
