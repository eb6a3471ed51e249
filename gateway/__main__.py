"""`python -m gateway`: one gateway process on GATEHOUSE_GATEWAY_BIND."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from types import FrameType

import uvicorn

from gateway import logs
from gateway.app import Gateway
from gateway.capture import StateFolderBusy
from gateway.config import ConfigurationError, from_environment
from gateway.protocol import bounded_protocol

log = logging.getLogger("gateway")


def _end(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> int:
    """Serve until SIGTERM or SIGINT; 2 when the settings or the state folder do not allow a start."""
    logs.configure()
    os.umask(0o027)
    # The server drains on these itself and then repeats the signal: a drained end is a good one, status 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        settings = from_environment()
        gateway = Gateway(settings)
        gateway.claim()
    except (ConfigurationError, StateFolderBusy, OSError, ValueError, KeyError) as error:
        logs.event(log, logging.ERROR, "the gateway cannot start", why=f"{type(error).__name__}: {error}")
        return 2
    config = uvicorn.Config(
        gateway,
        host=settings.bind_host,
        port=settings.bind_port,
        loop="uvloop",
        http=bounded_protocol(settings.head_timeout_s),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.shutdown_timeout_s),
    )
    # What is loaded now lives as long as the process: the collector need not walk it during requests.
    gc.collect()
    gc.freeze()
    uvicorn.Server(config).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
