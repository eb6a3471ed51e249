"""What GPUs this host has, by NVIDIA's management library. A host without any is the normal case."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pynvml

log = logging.getLogger(__name__)


def read_gpus() -> list[dict[str, Any]]:
    """One entry per GPU: `index, uuid, name, memory_bytes, memory_used_bytes, utilisation_pct, driver`.

    Empty when there is no driver or no GPU. A value that the driver does not give (some virtual GPUs) is None.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        driver = _try(pynvml.nvmlSystemGetDriverVersion)
        return [_read_gpu(index, driver) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        log.warning("reading the GPUs failed: %s", error)
        return []
    finally:
        pynvml.nvmlShutdown()


def _read_gpu(index: int, driver: str | None) -> dict[str, Any]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = _try(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    utilisation = _try(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
    return {
        "index": index,
        "uuid": _try(lambda: pynvml.nvmlDeviceGetUUID(handle)),
        "name": _try(lambda: pynvml.nvmlDeviceGetName(handle)),
        "memory_bytes": int(memory.total) if memory is not None else None,
        "memory_used_bytes": int(memory.used) if memory is not None else None,
        "utilisation_pct": int(utilisation.gpu) if utilisation is not None else None,
        "driver": driver,
    }


def _try(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except pynvml.NVMLError:
        return None
