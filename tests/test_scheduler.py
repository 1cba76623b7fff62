"""The engine thread: the newest wish first, nobody kept alive, nobody stopped by another's failure."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from landscape_widget.scheduler import Scheduler, scheduler


class Work:
    """A job of so many chunks, that writes down when it is advanced."""

    def __init__(self, name: str, log: list[str], chunks: int = 0) -> None:
        self.name, self.log, self.chunks = name, log, chunks
        self.flushed = 0
        self.waiting = False
        self.error: Exception | None = None
        self.then: Callable[[], None] = lambda: None

    def advance(self) -> bool:
        if self.error:
            raise self.error
        self.then()
        if not self.chunks:
            return False
        self.chunks -= 1
        self.log.append(self.name)
        return True

    def flush(self) -> bool:
        self.flushed += 1
        return self.waiting


class ByHand(Scheduler):
    """A scheduler whose rounds are called by the test instead of a thread."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.current_thread()

    def rounds(self, count: int) -> list[tuple[bool, bool]]:
        return [self._round() for _ in range(count)]


@pytest.fixture
def log() -> list[str]:
    return []


class TestOrder:
    def test_the_job_woken_last_is_first(self, log: list[str]):
        hand, a, b = ByHand(), Work("a", log, 2), Work("b", log, 2)
        hand.wake(a)
        hand.wake(b)
        hand.rounds(5)
        assert log == ["b", "b", "a", "a"]

    def test_a_wish_in_between_goes_before(self, log: list[str]):
        hand, a, b = ByHand(), Work("a", log, 3), Work("b", log, 3)
        hand.wake(a)
        hand.wake(b)
        hand.rounds(1)
        hand.wake(a)
        hand.rounds(5)
        assert log == ["b", "a", "a", "a", "b", "b"]

    def test_a_sign_of_life_is_no_wish(self, log: list[str]):
        hand, a, b = ByHand(), Work("a", log, 2), Work("b", log, 2)
        hand.wake(a)
        hand.wake(b)
        hand.wake(a, first=False)
        hand.rounds(4)
        assert log == ["b", "b", "a", "a"]

    def test_an_unknown_job_is_taken_up_by_its_first_sign_of_life(self, log: list[str]):
        hand, a, b = ByHand(), Work("a", log, 1), Work("b", log, 1)
        hand.wake(a)
        hand.wake(b, first=False)
        hand.rounds(2)
        assert log == ["b", "a"]

    def test_a_job_is_known_once(self, log: list[str]):
        hand, a = ByHand(), Work("a", log)
        for _ in range(100):
            hand.wake(a)
        assert len(hand._jobs) == 1

    def test_jobs_are_told_in_the_order_of_their_turns(self, log: list[str]):
        hand, a, b, c = ByHand(), Work("a", log), Work("b", log), Work("c", log)
        for job in (a, b, c, a):
            hand.wake(job)
        del job, b
        assert hand.jobs() == [a, c]

    def test_all_are_flushed_whoever_works(self, log: list[str]):
        hand, a, b = ByHand(), Work("a", log, 9), Work("b", log, 9)
        hand.wake(a)
        hand.wake(b)
        a.waiting = True
        assert hand.rounds(3) == [(True, True)] * 3
        assert (a.flushed, b.flushed) == (3, 3)
        assert log == ["b"] * 3


class TestFailure:
    @pytest.mark.parametrize("first", [True, False])
    def test_one_jobs_failure_is_logged_and_stops_nobody_else(
        self, log: list[str], caplog: pytest.LogCaptureFixture, first: bool
    ):
        hand, bad, good = ByHand(), Work("bad", log), Work("good", log, 2)
        bad.error = ArithmeticError("boom")
        for job in (good, bad) if first else (bad, good):
            hand.wake(job)
        with caplog.at_level(logging.ERROR):
            hand.rounds(3)
        assert log == ["good", "good"]
        assert "boom" in caplog.text


class TestLife:
    def test_a_job_that_nobody_keeps_is_gone(self, log: list[str]):
        hand = ByHand()
        job = Work("a", log, 5)
        hand.wake(job)
        hand.rounds(1)
        gone = weakref.ref(job)
        del job
        assert gone() is None
        assert hand.rounds(1) == [(False, False)]
        other = Work("b", log)
        hand.wake(other)
        assert len(hand._jobs) == 1

    def test_the_thread_works_sleeps_and_is_woken(self, log: list[str]):
        made, done, idle = Scheduler(), threading.Event(), threading.Event()
        job = Work("a", log, 3)
        job.then = lambda: done.set() if not job.chunks else None
        made.wake(job)
        assert done.wait(10)
        assert log == ["a"] * 3
        thread = made._thread
        assert thread is not None
        assert thread.daemon
        assert thread.name == "landscape-engine"

        again = Work("b", log, 1)
        again.then = lambda: idle.set() if not again.chunks else None
        made.wake(again)
        assert idle.wait(10)
        assert log == ["a", "a", "a", "b"]
        assert made._thread is thread

    def test_the_sleeping_thread_keeps_nobody_alive(self, log: list[str]):
        made, seen = Scheduler(), threading.Event()
        job = Work("a", log, 1)
        reference = weakref.ref(job)
        job.then = seen.set
        made.wake(job)
        assert seen.wait(10)
        # When the thread gets to the second job, its round with the first is over.
        other, later = Work("b", log), threading.Event()
        del job
        gc.collect()
        other.then = later.set
        made.wake(other)
        assert later.wait(10)
        assert reference() is None

    def test_what_waits_is_flushed_again_without_being_woken(self, log: list[str]):
        made, flushed = Scheduler(), threading.Event()

        class Waiting(Work):
            def flush(self) -> bool:
                self.flushed += 1
                if self.flushed == 4:
                    flushed.set()
                return self.flushed < 4

        job = Waiting("a", log)
        made.wake(job)
        assert flushed.wait(10)

    def test_a_wake_during_a_round_is_not_lost(self, log: list[str]):
        made, entered, go, again = Scheduler(), threading.Event(), threading.Event(), threading.Event()
        job = Work("a", log)
        calls = []

        def then() -> None:
            calls.append(1)
            if len(calls) == 1:
                entered.set()
                go.wait(10)
            else:
                again.set()

        job.then = then
        made.wake(job)
        assert entered.wait(10)
        made.wake(job)  # while it says that it has nothing to do
        go.set()
        assert again.wait(10)

    def test_a_thread_that_has_ended_is_replaced(self, log: list[str]):
        made, done = Scheduler(), threading.Event()
        made._thread = threading.Thread(target=lambda: None)
        made._thread.start()
        made._thread.join()
        job = Work("a", log, 1)
        job.then = lambda: done.set() if not job.chunks else None
        made.wake(job)
        assert done.wait(10)

    def test_there_is_one_for_the_process(self):
        assert scheduler() is scheduler()

    def test_its_end_waits_for_the_present_chunk_and_lets_no_other_begin(self, log: list[str]):
        made, entered, go = Scheduler(), threading.Event(), threading.Event()
        job = Work("a", log, 100)

        def then() -> None:
            entered.set()
            go.wait(10)

        job.then = then
        made.wake(job)
        assert entered.wait(10)
        ending = threading.Thread(target=made.end)
        ending.start()
        while not made._ended:
            time.sleep(0.001)
        assert ending.is_alive()
        go.set()
        ending.join(10)
        assert not ending.is_alive()
        assert log == ["a"]


def test_a_process_ends_well_while_the_engine_works():
    script = """
import threading, time
from landscape_widget.scheduler import scheduler

class Endless:
    chunks = 0
    def advance(self):
        self.chunks += 1
        torch.randn(300, 300) @ torch.randn(300, 300)
        return True
    def flush(self):
        return False

import torch
job = Endless()
scheduler().wake(job)
while job.chunks < 3:
    time.sleep(0.01)
"""
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
        assert (ended.returncode, ended.stderr) == (0, "")
