"""Signals end the work at safe points, a second one at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from ivideo.processes import SIGNALS, StopRequested, StopSignals

TWICE = """
import os, signal
from ivideo.processes import StopSignals
with StopSignals(lambda: print("announced", flush=True)):
    for _ in range(2):
        os.kill(os.getpid(), signal.{name})
    print("still there")
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_for_a_safe_point(number: int) -> None:
    told: list[str] = []
    before = signal.getsignal(number)
    with StopSignals(lambda: told.append("stopping")) as signals:
        signals.check()
        os.kill(os.getpid(), number)
        assert (signals.received, told) == (number, ["stopping"])
        with pytest.raises(StopRequested):
            signals.check()
        with pytest.raises(StopRequested), signals.safe_points():
            pytest.fail("began although a signal had come")
    assert signal.getsignal(number) is before


def test_a_safe_block_ends_at_once() -> None:
    reached = []

    def work(signals: StopSignals) -> None:
        with signals.safe_points():
            reached.append(1)
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append(2)

    with StopSignals() as signals:
        with pytest.raises(StopRequested):
            work(signals)
        assert (reached, signals.received) == ([1], signal.SIGTERM)


def test_without_a_signal_nothing_happens() -> None:
    with StopSignals(lambda: pytest.fail("announced")) as signals:
        with signals.safe_points():
            pass
        signals.check()
    assert signals.received is None


def test_a_cluster_may_send_its_notice_again_and_its_end_once() -> None:
    told: list[str] = []
    with StopSignals(lambda: told.append("stopping")) as signals:
        for number in (signal.SIGUSR1, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
            assert (signals.received, told) == (signal.SIGUSR1, ["stopping"])
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGUSR1)
        assert signals.received == signal.SIGTERM


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_second_signal_leaves_at_once(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", TWICE.format(name=name)], capture_output=True, text=True, timeout=60)
    assert done.returncode == -getattr(signal, name)
    assert done.stdout == "announced\n"
