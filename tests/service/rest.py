"""What a service costs while nobody records."""

from __future__ import annotations

import time

from pipedtln.demo.servers import PrivateServer
from tests.service.bridge import RunningBridge

QUIET_S = 6.5
"""Servers suspend a device that has been idle for 5 s, and the service looks at each change."""
LONGEST_S = 25.0
WINDOWS, WINDOW_S = 3, 4.0


def idle_shares(server: PrivateServer, bridge: RunningBridge) -> list[float]:
    """Per cent of a core that it takes, in windows, once the server's devices are at rest."""
    wait_at_rest(server)
    shares = []
    for _ in range(WINDOWS):
        before = bridge.cpu_seconds()
        time.sleep(WINDOW_S)
        shares.append(100 * (bridge.cpu_seconds() - before) / WINDOW_S)
    told = ", ".join(f"{share:.2f}" for share in shares)
    print(f"{server.kind}: idle takes {told} % of a core, in windows of {WINDOW_S:.0f} s")
    return shares


def wait_at_rest(server: PrivateServer) -> None:
    """Until no device has changed its state for longer than servers take to suspend one."""
    began = changed = time.monotonic()
    before: object = None
    with server.connect() as pulse:
        while (now := time.monotonic()) - changed < QUIET_S:
            assert now - began < LONGEST_S, f"the devices do not come to rest: {before}"
            devices = (*pulse.sink_list(), *pulse.source_list())
            states = [(device.name, str(device.state)) for device in devices]
            if states != before:
                before, changed = states, now
            time.sleep(0.2)
