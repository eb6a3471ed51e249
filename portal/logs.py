"""Log lines that say which request they belong to."""

import contextvars

from celery_worker import logs

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")


class JsonFormatter(logs.JsonFormatter):
    """JSON lines with the id of the request that is being answered."""

    def more(self) -> dict[str, object]:
        """The request's id, if there is one."""
        rid = request_id.get()
        return {"request_id": rid} if rid else {}
