"""What listening costs, all in all: ``python -m benchmarks.live_cost``.

A far end talks on a private server and echoes into its microphone, while one app records: the bare
microphone, DTLN Microphone with several networks, and the source of the server's own echo-cancel
module (WebRTC). Told in per cent of a core, by the scheduler's account: the service, and what the
server's processes take more than with the bare microphone. All rows are of one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.latency import SERVERS, cpu_seconds
from pipedtln.audio.api import PERIODS
from pipedtln.demo.bridge import MICROPHONE, running_bridge
from pipedtln.demo.conversation import sentences
from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivateServer
from pipedtln.errors import ServerError
from pipedtln.processor import SAMPLE_RATE

BARE, OWN = "bare microphone", "the server's echo-cancel, WebRTC"
SETTLE_S = 5.0
ECHO_CANCEL = "bench_echo_cancel"


@contextmanager
def heard(
    server: PrivateServer, case: str, latency: str, log: Path
) -> Iterator[tuple[str, str | None, int | None]]:
    """Source to record, sink to play to and the service's process id in this case."""
    if case == BARE:
        yield server.MICROPHONE, server.SPEAKER, None
    elif case == OWN:
        with server.connect() as pulse:
            module = pulse.module_load(
                "module-echo-cancel",
                f"aec_method=webrtc source_master={server.MICROPHONE} "
                f"sink_master={server.SPEAKER} "
                f"source_name={ECHO_CANCEL}_source sink_name={ECHO_CANCEL}_sink",
            )
            names = {f"{ECHO_CANCEL}_source", f"{ECHO_CANCEL}_sink"}
            if not wait_until(
                lambda: names <= {one.name for one in (*pulse.source_list(), *pulse.sink_list())},
                5.0,
            ):
                raise ServerError("the server did not make its echo canceller")
            try:
                yield f"{ECHO_CANCEL}_source", f"{ECHO_CANCEL}_sink", None
            finally:
                pulse.module_unload(module)
    else:
        options = ["--latency", latency]
        model = case
        if case == "pass-through":
            options, model = [*options, "--bypass"], "auto"
        if model.startswith("ns-"):
            options += ["--reference", "none"]
        with running_bridge(server, model, log, lambda *_: None, *options) as ask:
            yield MICROPHONE, server.SPEAKER, int(ask()["pid"])


def measure(
    server: PrivateServer, case: str, latency: str, seconds: float, log: Path
) -> tuple[float, float]:
    """Shares of a core that the service and that all of the server's processes take."""
    voice = np.concatenate(sentences("far"))
    far = np.tile(voice, int(np.ceil((seconds + 3 * SETTLE_S) * SAMPLE_RATE / len(voice))))
    with ExitStack() as stack:
        source, sink, service = stack.enter_context(heard(server, case, latency, log))
        stack.enter_context(server.player(far, sink))
        app = stack.enter_context(server.recorder(source))
        app.wait(SETTLE_S)

        def spent() -> tuple[float, float]:
            own = 0.0 if service is None else cpu_seconds(service)
            return own, sum(map(cpu_seconds, server.pids()))

        before, began = spent(), time.monotonic()
        time.sleep(seconds)
        after, took = spent(), time.monotonic() - began
    return (after[0] - before[0]) / took, (after[1] - before[1]) / took


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--server", choices=SERVERS, nargs="*", default=list(SERVERS))
    parser.add_argument("--latency", choices=PERIODS, nargs="*", default=["balanced", "saver"])
    parser.add_argument(
        "--model", nargs="*", default=["pass-through", "ns-row8", "aec-256-row8", "aec-512-row8"]
    )
    wanted = parser.parse_args()
    table = Table("server", "latency", "records", "service %", "server's more %", "in all %")
    with tempfile.TemporaryDirectory() as logs:
        for kind in wanted.server:
            runs = [(BARE, "-"), (OWN, "-")]
            runs += [(model, latency) for latency in wanted.latency for model in wanted.model]
            with SERVERS[kind]() as server:
                server.add_room(delay_ms=60)
                bare = 0.0
                for case, latency in track(runs, description=kind):
                    own, servers = measure(
                        server, case, latency, wanted.seconds, Path(logs) / "bridge.log"
                    )
                    if case == BARE:
                        bare = servers
                    figures = (own, servers - bare, own + servers - bare)
                    table.add_row(kind, latency, case, *(f"{100 * one:.1f}" for one in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
