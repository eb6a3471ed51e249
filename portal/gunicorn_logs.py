"""gunicorn's own lines as JSON: `--logger-class portal.gunicorn_logs.JsonLogger`. Loaded before Django is."""

import logging
from typing import Any

from gunicorn.glogging import Logger

from portal.logs import JsonFormatter


class JsonLogger(Logger):  # type: ignore[misc]
    """Error log and, where `--access-logfile` names one, access log: one JSON object a line."""

    def _set_handler(self, log: logging.Logger, output: str | None, fmt: logging.Formatter, stream: Any = None) -> None:
        super()._set_handler(log, output, JsonFormatter(), stream)

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: Any) -> None:
        """A line for an answered request. Query strings and headers stay out: they may hold what nobody should read in a log."""
        if not self.access_log_enabled:
            return
        status = int(str(resp.status).split(None, 1)[0])
        fields = {
            "method": environ.get("REQUEST_METHOD", ""),
            "path": environ.get("PATH_INFO", ""),
            "status": status,
            "bytes": getattr(resp, "sent", None),
            "took_ms": round(request_time.total_seconds() * 1000, 1),
            "address": environ.get("REMOTE_ADDR", ""),
            "request_id": next((value for name, value in resp.headers if name.lower() == "x-request-id"), ""),
        }
        self.access_log.info("%s %s %s", fields["method"], fields["path"], status, extra={"event": fields})
