"""One engine thread for the whole process: it advances what was wished for last, a chunk at a time."""

from __future__ import annotations

import atexit
import functools
import logging
import threading
import weakref
from typing import Protocol

_log = logging.getLogger(__name__)

# How often what waits for its turn to be sent is looked at, in seconds.
_FLUSH = 0.05
# How long the end of the process waits for the chunk that is being worked on.
_LAST_CHUNK = 30.0


class Job(Protocol):
    """Work that goes on in short chunks."""

    def advance(self) -> bool:
        """Do one chunk; False when there is nothing to do now."""
        ...

    def flush(self) -> bool:
        """Send what waits; True while something still waits."""
        ...


class Scheduler:
    """Advances jobs, the one woken last first. Jobs are held weakly: what nobody else keeps is gone."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._jobs: list[weakref.ref[Job]] = []
        self._thread: threading.Thread | None = None
        self._woken = False
        self._ended = False

    def wake(self, job: Job, *, first: bool = True) -> None:
        """Have a job advanced: before all others, or (``first=False``) in the place it has; the thread starts with the first one."""
        with self._condition:
            alive = [r for r in self._jobs if r() is not None]
            if first or all(r() is not job for r in alive):
                alive = [weakref.ref(job), *(r for r in alive if r() is not job)]
            self._jobs = alive
            self._woken = True
            # A SystemExit out of a user's loss ends the thread; a fork leaves it behind.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="landscape-engine", daemon=True)
                self._thread.start()
                # A thread that is inside torch while the interpreter is taken apart aborts the process.
                atexit.register(self.end)
            self._condition.notify()

    def jobs(self) -> list[Job]:
        """The jobs that are still kept by somebody, in the order of their turns."""
        with self._condition:
            return [job for reference in self._jobs if (job := reference()) is not None]

    def end(self) -> None:
        """Stop after the present chunk, for good, and wait for that."""
        with self._condition:
            self._ended, thread = True, self._thread
            self._condition.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_LAST_CHUNK)

    def _run(self) -> None:
        while not self._ended:
            worked, waiting = self._round()
            with self._condition:
                if not (worked or self._woken or self._ended):
                    self._condition.wait(_FLUSH if waiting else None)
                self._woken = False

    def _round(self) -> tuple[bool, bool]:
        """One chunk of the first job that has something to do; (did one, something waits to be sent)."""
        with self._condition:
            references = list(self._jobs)
        worked = waiting = False
        for reference in references:
            job = reference()
            if job is None:
                continue
            try:
                worked = worked or job.advance()
                waiting = job.flush() or waiting
            except Exception:  # noqa: BLE001 - one job's failure must not end the thread of all
                _log.exception("a job of the landscape engine failed")
            # Not kept while the thread waits.
            del job
        return worked, waiting


@functools.cache
def scheduler() -> Scheduler:
    """The process's scheduler, made on first use."""
    return Scheduler()
