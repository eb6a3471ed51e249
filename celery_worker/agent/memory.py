"""How much memory an engine holds."""

from __future__ import annotations

import psutil


def resident_bytes(pid: int | None) -> int | None:
    """Resident memory of a process and of those it started; None when it is gone or was never known."""
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        total = int(process.memory_info().rss)
        for child in process.children(recursive=True):
            total += int(child.memory_info().rss)
    except psutil.Error:
        return None
    return total
