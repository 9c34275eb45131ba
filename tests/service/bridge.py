"""A real ``pipedtln run`` as a child process on a private server, and what a test asks of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from benchmarks.latency import cpu_seconds
from pipedtln.control.api import Status
from pipedtln.control.client import BridgeClient, ask
from pipedtln.demo.servers import PrivateServer
from pipedtln.errors import ServiceError
from tests.mounts import Mounted

ROOT = Path(__file__).parents[2]
MICROPHONE = "pipedtln_microphone"


class RunningBridge:
    """The service in the foreground; a context manager that ends it.

    Parameters
    ----------
    server : whose environment it gets
    options : of ``pipedtln run``
    env : changes to the environment; None takes a variable away
    within : the mounts that it finds
    """

    def __init__(
        self,
        server: PrivateServer,
        *options: str,
        env: dict[str, str | None] | None = None,
        within: Mounted | None = None,
    ) -> None:
        self.server = server
        self._within = within
        self._options = options
        self._env = env or {}
        self._log = server.folder / "bridge.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        """Environment of the child."""
        env: dict[str, str | None] = {**self.server.env, "PYTHONPATH": str(ROOT), **self._env}
        return {name: value for name, value in env.items() if value is not None}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; does not wait for anything."""
        command = [sys.executable, "-m", "pipedtln", "run", *self._options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._within.command(*command) if self._within else command,
                env=self.env,
                cwd=self.server.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> int:
        """SIGTERM, and the exit code; safe to call twice."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise AssertionError(f"did not end within 10 s:\n{self.log()}") from None
        return self._process.returncode

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def log(self) -> str:
        """All that it wrote, over all its starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def status(self) -> Status:
        """As ``pipedtln status`` gets it.

        Raises
        ------
        ServiceError
            If it is not on the bus.
        """
        return ask(BridgeClient.status, address=self.server.bus_address)

    def wait_for(self, reached: Callable[[Status], bool], timeout: float = 15.0) -> Status:
        """Poll the status until it is as it should be; fails with the log if it does not."""
        deadline = time.monotonic() + timeout
        last: Status | ServiceError | None = None
        while time.monotonic() < deadline:
            try:
                last = self.status()
            except ServiceError as error:
                last = error
            else:
                if reached(last):
                    return last
            if not self.runs:
                break
            time.sleep(0.05)
        raise AssertionError(f"not within {timeout:.0f} s; last: {last}\n{self.log()}")

    def wait_state(self, *states: str, timeout: float = 15.0) -> Status:
        return self.wait_for(lambda status: status.state in states, timeout)

    def cpu_seconds(self) -> float:
        """Processor time that it has used so far."""
        return cpu_seconds(self.pid)

    def memory_mb(self) -> float:
        """Resident memory that is not shared with files."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no RssAnon")

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def __enter__(self) -> RunningBridge:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.runs:
            self.kill()
        if error is not None:
            print(self.log())


def our_streams(server: PrivateServer) -> list[tuple[str, str]]:
    """(stream, device) of the recording streams that the bridge has open."""
    with server.connect() as pulse:
        names = {source.index: source.name for source in pulse.source_list()}
        return sorted(
            (stream.name, names.get(stream.source, "nothing"))
            for stream in pulse.source_output_list()
            if stream.proplist.get("pipedtln.owner") == "pipedtln"
            and stream.proplist.get("application.name") == "pipedtln"
        )


def loopback_targets(server: PrivateServer) -> list[str]:
    """Sinks that DTLN Speaker plays on; loopbacks are told by their argument."""
    with server.connect() as pulse:
        sinks = {sink.index: sink.name for sink in pulse.sink_list()}
        modules = {
            module.index
            for module in pulse.module_list()
            if module.name == "module-loopback" and "source=pipedtln_speaker" in module.argument
        }
        return [
            sinks.get(stream.sink, "nothing")
            for stream in pulse.sink_input_list()
            if stream.owner_module in modules
        ]
