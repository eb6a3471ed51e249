"""Tables as CSV files."""

import csv
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.http import HttpResponse

from apps.core.clock import iso


def cell(value: Any) -> Any:
    """A value for a spreadsheet: moments in UTC, nothing as an empty cell, and no text that a spreadsheet would run as a formula."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def download(name: str, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> HttpResponse:
    """The rows as a file called `name`."""
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    writer = csv.writer(response)
    writer.writerow(header)
    for row in rows:
        writer.writerow([cell(v) for v in row])
    return response
