"""The ring between one writing and one reading thread."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest

from pipedtln.stream.ring import Ring


def counting(start: int, count: int) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.float32)


def test_sound_comes_out_in_order_however_it_is_cut() -> None:
    rng = np.random.default_rng(1)
    ring = Ring(1000)
    written = read = 0
    while written < 50_000:
        block = counting(written, int(rng.integers(0, 1000 - ring.readable + 1)))
        ring.write(block)
        written += len(block)
        out = np.full(int(rng.integers(0, 1001)), -1, dtype=np.float32)
        got = ring.read(out)
        assert np.array_equal(out[:got], counting(read, got))
        assert np.all(out[got:] == -1)
        read += got
        assert ring.readable == written - read
    assert ring.dropped == 0
    assert ring.written == written


@pytest.mark.parametrize("start", [0, 60, 99])
def test_memory_of_others_goes_in_like_an_array(start: int) -> None:
    plain, foreign = Ring(100), Ring(100)
    for ring in (plain, foreign):
        ring.write(np.zeros(start, dtype=np.float32))
        ring.skip(start)
    block = counting(1, 130)
    plain.write(block)
    foreign.write_at(block.ctypes.data, len(block))
    outs = [np.zeros(130, dtype=np.float32) for _ in range(2)]
    assert [ring.read(out) for ring, out in zip((plain, foreign), outs, strict=True)] == [100, 100]
    assert np.array_equal(outs[0], outs[1])
    assert np.array_equal(outs[0][:100], block[:100])
    assert plain.dropped == foreign.dropped == 30


def test_full_ring_keeps_the_old_and_counts_the_new() -> None:
    ring = Ring(100)
    ring.write(counting(0, 80))
    ring.write(counting(80, 50))
    assert ring.dropped == 30
    out = np.zeros(200, dtype=np.float32)
    assert ring.read(out) == 100
    assert np.array_equal(out[:100], counting(0, 100))
    ring.write(counting(0, 100))
    assert ring.dropped == 30


def test_skip_forgets_the_oldest_and_no_more_than_there_is() -> None:
    ring = Ring(64)
    ring.write(counting(0, 50))
    assert ring.skip(20) == 20
    out = np.zeros(1, dtype=np.float32)
    ring.read(out)
    assert out[0] == 20
    assert ring.skip(1000) == 29
    assert ring.readable == 0


def test_silence_is_written_across_the_end() -> None:
    ring = Ring(10)
    ring.write(counting(1, 8))
    ring.skip(8)
    ring.write_silence(6)
    out = np.ones(6, dtype=np.float32)
    assert ring.read(out) == 6
    assert not out.any()


def test_two_threads_lose_and_disorder_nothing() -> None:
    total = 200_000
    ring = Ring(777)
    sums: list[np.ndarray] = []
    ends = time.monotonic() + 30

    def write() -> None:
        at = 0
        while at < total and time.monotonic() < ends:
            count = min(total - at, 1 + at % 211, 777 - ring.readable)
            block = counting(at, count)
            if at % 2:
                ring.write(block)
            else:
                ring.write_at(block.ctypes.data, count)
            at += count

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        writer = threading.Thread(target=write)
        writer.start()
        out, got = np.zeros(131, dtype=np.float32), 0
        while got < total and time.monotonic() < ends:
            count = ring.read(out)
            sums.append(out[:count].copy())
            got += count
        writer.join()
    finally:
        sys.setswitchinterval(switching)
    assert np.array_equal(np.concatenate(sums), counting(0, total))
    assert ring.dropped == 0
