"""A bridge on JACK-Client and pipewire-jack, to compare: ``python -m benchmarks.jack_client``.

The way not taken for ``backend = "pipewire"``: one JACK node with ports for microphone, reference
and output, whose callback is Python in the data thread. Here it copies to and from rings, and a
worker carries hops of 8 ms from one to the other: nothing is resampled, paced or processed, and no
network's 32 ms are added. The bridge, which does all that, is measured beside it, in the same run.

Needs Debian's pipewire-jack and libjack-jackd2-0, and ``pip install JACK-Client``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.latency import (
    FIGURES,
    SETTLE_S,
    Arrivals,
    cpu_shares,
    find_delays,
    marker,
    measure,
    told,
)
from benchmarks.recorders import in_memory
from pipedtln.demo.processes import wait_until
from pipedtln.demo.servers import PrivatePipeWire
from pipedtln.processor import HOP, SAMPLE_RATE
from pipedtln.stream.ring import Ring

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/pipewire-0.3/jack")
"""Where Debian has pipewire-jack's libjack; ``pw-jack`` names it where it is elsewhere."""
SINK = "bench_out"
PORTS = (
    "fake_mic:capture_MONO",
    "fake_speaker:monitor_FL",
    f"{SINK} Audio/Sink sink:playback_MONO",
)
"""Ends of the names of the ports for microphone, reference and output."""
AHEAD = 2 * HOP
"""Samples at 16 kHz (16 ms) that stand in the output ring at first: a hop and a cycle."""


class Client:
    """The node: runs until its standard input ends, then tells what it has counted."""

    def __init__(self) -> None:
        import jack

        self._client: Any = jack.Client("bench_jack")
        rate = self._client.samplerate
        self._in = [Ring(rate) for _ in range(2)]
        self._out = Ring(rate)
        self._hop = HOP * rate // SAMPLE_RATE
        self._silence = np.zeros(AHEAD * rate // SAMPLE_RATE, np.float32)
        self._heard = threading.Semaphore(0)
        self._ends = False
        self.cycles = self.dry = self._owed = 0
        ports = self._client.inports, self._client.outports
        self._ports = [ports[0].register("mic"), ports[0].register("ref"), ports[1].register("out")]
        self._client.set_process_callback(self._cycle)

    def run(self) -> None:
        worker = threading.Thread(target=self._work, daemon=True)
        worker.start()
        with self._client:
            for own, end in zip(self._ports, PORTS, strict=True):
                (other,) = (port for port in self._client.get_ports() if port.name.endswith(end))
                pair = (other, own) if own.is_input else (own, other)
                self._client.connect(*pair)
            print("ready", flush=True)
            sys.stdin.read()
        self._ends = True
        self._heard.release()
        worker.join()
        print(json.dumps({"cycles": self.cycles, "dry": self.dry}), flush=True)

    def _cycle(self, frames: int) -> None:
        """In the data thread."""
        for ring, port in zip(self._in, self._ports, strict=False):
            ring.write(port.get_array())
        if not self.cycles:
            self._out.write(self._silence)
        # What comes too late for its cycle is left out, as the bridge does.
        self._owed -= self._out.skip(self._owed)
        out = self._ports[2].get_array()
        got = self._out.read(out)
        if got < frames:
            out[got:] = 0.0
            self._owed += frames - got
            self.dry += 1
        self.cycles += 1
        self._heard.release()

    def _work(self) -> None:
        blocks = np.zeros((2, self._hop), np.float32)
        while not self._ends:
            self._heard.acquire()
            while self._in[0].readable >= self._hop:
                for ring, block in zip(self._in, blocks, strict=True):
                    ring.read(block)
                self._out.write(blocks[0])


def measure_jack(seconds: float) -> list[str]:
    """One row of the table."""
    with PrivatePipeWire(inside=in_memory()) as server, tempfile.TemporaryFile() as errors:
        with server.connect() as pulse:
            pulse.module_load("module-null-sink", f"sink_name={SINK} channels=1")
            if not wait_until(lambda: SINK in {one.name for one in pulse.sink_list()}, 5.0):
                raise SystemExit("the server did not make a sink")
        here = str(Path(__file__).parents[1])
        env = {"LD_LIBRARY_PATH": str(LIBRARY), "PIPEWIRE_LATENCY": "384/48000", "PYTHONPATH": here}
        with (
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.jack_client", "--client"],
                env={**server.env, **env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            ) as client,
            server.player(marker(seconds + 3 * SETTLE_S), server.MICROPHONE_INPUT),
            server.recorder(server.MICROPHONE) as straight,
            server.recorder(f"{SINK}.monitor") as through,
        ):
            assert client.stdin is not None and client.stdout is not None
            if client.stdout.readline() != b"ready\n":
                errors.seek(0)
                raise SystemExit(f"the client ended: {errors.read().decode()[-400:]}")
            time.sleep(SETTLE_S)
            arrivals = Arrivals(straight, through)
            shares = cpu_shares(server, client.pid, lambda: arrivals.watch(seconds))
            heard, got = straight.stop(), through.stop()
            client.stdin.close()
            counted = json.loads(client.stdout.readline())
    wakes = counted["cycles"] / (seconds + SETTLE_S)
    found = find_delays(arrivals, heard, got)
    return ["JACK-Client", *told(found, counted["dry"], wakes, shares)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.client:
        Client().run()
        return
    table = Table("way", *FIGURES)
    with tempfile.TemporaryDirectory() as logs:
        for way in track(("JACK-Client", "pipewire", "pulse"), "measuring"):
            if way == "JACK-Client":
                table.add_row(*measure_jack(wanted.seconds))
            else:
                row = measure("pipewire", "low", way, wanted.seconds, Path(logs))
                table.add_row(f"bridge, {way}", *row[3:])
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
