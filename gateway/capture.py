"""Writes every answered prediction down before its answer leaves, and sees that it becomes Parquet.

The spool is a folder of JSON-line files, one line a request, so a request is in it whole or not at all. The
line is handed to the kernel in one write before the answer is sent: killing the gateway loses nothing that
was answered. A child process turns sealed files into Parquet (gateway.convert), so that the serving loop
never waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import sys
import time
import uuid
from pathlib import Path

import gateway
from gateway import logs
from gateway.config import Settings
from gateway.metrics import Metrics

log = logging.getLogger("gateway.capture")

ACTIVE = ".active"
SEALED = ".jsonl"


class CaptureFailed(Exception):
    """The spool could not take the line; the prediction must not be answered."""


class StateFolderBusy(Exception):
    """Another gateway uses the state folder."""


class Spool:
    """The open end of the spool: append, and seal when it is old or long enough. For one process alone."""

    def __init__(self, folder: Path, *, max_rows: int, max_age_s: float, metrics: Metrics) -> None:
        self._folder = folder
        self._max_rows = max_rows
        self._max_age_s = max_age_s
        self._metrics = metrics
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._size = 0
        self._rows = 0
        self._opened_at = 0.0

    def seal_leftovers(self) -> int:
        """Seal what a killed gateway left open; returns how many files. Call it under the state lock."""
        leftovers = sorted(self._folder.glob(f"*{ACTIVE}"))
        for path in leftovers:
            path.rename(path.with_suffix(SEALED))
        return len(leftovers)

    def append(self, line: bytes, *, rows: int) -> None:
        """Hand one line, newline included, to the kernel. Raises CaptureFailed with nothing written."""
        try:
            if self._descriptor is None:
                self._open()
            assert self._descriptor is not None
            written = os.write(self._descriptor, line)
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError as error:
            self._metrics.capture_errors.add()
            self._cut_back()
            raise CaptureFailed(error.strerror or type(error).__name__) from error
        self._size += len(line)
        self._rows += rows
        self._metrics.captured.add()

    def due(self) -> bool:
        """Whether the open file has to be sealed now."""
        if not self._rows:
            return False
        return self._rows >= self._max_rows or time.monotonic() - self._opened_at >= self._max_age_s

    def takes_writes(self) -> bool:
        """Whether a file can be written to the spool folder now."""
        probe = self._folder / ".probe"
        try:
            probe.write_bytes(b" " * 65_536)
            probe.unlink()
        except OSError:
            return False
        return True

    def seal(self) -> bool:
        """Close the open file and hand it over for conversion; False when there is none."""
        if self._descriptor is None or self._path is None:
            return False
        descriptor, path = self._descriptor, self._path
        self._descriptor, self._path, self._rows = None, None, 0
        os.close(descriptor)
        path.rename(path.with_suffix(SEALED))
        return True

    def _open(self) -> None:
        path = self._folder / f"{uuid.uuid4()}{ACTIVE}"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._path, self._size, self._rows, self._opened_at = path, 0, 0, time.monotonic()

    def _cut_back(self) -> None:
        # A full disk can leave half a line; the next one must not be glued to it.
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            with contextlib.suppress(OSError):
                self.seal()


class Converter:
    """The child process that turns sealed files into Parquet. Restarted when it ends."""

    def __init__(self, settings: Settings) -> None:
        self._arguments = [str(settings.spool_dir), str(settings.capture_dir)]
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    async def run(self) -> None:
        """Keep the child alive until `stop`."""
        while not self._stopping:
            started_at = time.monotonic()
            try:
                self._process = await self._start()
                why = f"exit code {await self._process.wait()}"
            except OSError as error:
                why = str(error)
            if not self._stopping:
                logs.event(log, logging.ERROR, "the converter ended and is started again", why=why)
                await asyncio.sleep(max(0.1, 1.0 - (time.monotonic() - started_at)))

    async def _start(self) -> asyncio.subprocess.Process:
        # A bare environment and -P: the child gets neither tokens nor modules from the working folder.
        root = str(Path(gateway.__file__).resolve().parent.parent)
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "gateway.convert",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": root, "PATH": os.environ.get("PATH", "")},
        )

    def wake(self) -> None:
        """Tell the child that a file was sealed. It also looks by itself, so a lost word does no harm."""
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            return
        if process.stdin.transport.get_write_buffer_size() == 0:
            process.stdin.write(b"\n")

    async def stop(self, timeout_s: float) -> None:
        """Close the child's input, upon which it converts what is left and ends."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        except TimeoutError:
            # Killing it loses nothing: what it had not finished is converted at the next start.
            process.kill()


class Capture:
    """The spool and its converter, as the rest of the gateway sees them."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._lock: int | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._spool = Spool(
            settings.spool_dir,
            max_rows=settings.spool_max_rows,
            max_age_s=settings.spool_max_age_s,
            metrics=metrics,
        )
        self._converter = Converter(settings)
        self.healthy = True

    def claim(self) -> None:
        """Make the folders and take the state folder for this process. Raises StateFolderBusy, OSError."""
        for folder in (self._settings.state_dir, self._settings.spool_dir):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._settings.capture_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._lock = os.open(self._settings.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateFolderBusy(
                f"Another gateway uses {self._settings.state_dir}; give this one its own"
                " GATEHOUSE_GATEWAY_STATE, or stop the other."
            ) from error

    def start(self) -> None:
        """Seal what was left behind, start converter and clock. Needs `claim` and a running loop."""
        left = self._spool.seal_leftovers()
        if left:
            logs.event(log, logging.WARNING, "spool files of a killed gateway were taken over", files=left)
        self._tasks = [
            asyncio.create_task(self._converter.run(), name="converter"),
            asyncio.create_task(self._watch(), name="spool clock"),
        ]

    def append(self, line: bytes, *, rows: int) -> None:
        """Keep one request's line. Raises CaptureFailed."""
        try:
            self._spool.append(line, rows=rows)
        except CaptureFailed:
            self.healthy = False
            raise
        self.healthy = True
        if self._spool.due():
            self._seal()

    async def stop(self) -> None:
        """Seal the open file and let the converter finish."""
        for task in self._tasks[1:]:
            task.cancel()
        self._spool.seal()
        await self._converter.stop(self._settings.shutdown_timeout_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._lock is not None:
            os.close(self._lock)

    def _seal(self) -> None:
        try:
            if self._spool.seal():
                self._converter.wake()
        except OSError as error:
            logs.event(log, logging.ERROR, "a spool file could not be sealed", why=str(error))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.25)
            if self._spool.due():
                self._seal()
            if not self.healthy:
                # Not ready, it is sent no requests by which it could notice that the disk is back.
                self.healthy = self._spool.takes_writes()
            self._metrics.spool_files.set(sum(1 for _ in self._settings.spool_dir.glob(f"*{SEALED}")))
