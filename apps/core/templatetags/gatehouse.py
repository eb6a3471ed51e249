"""Small words for pages: moments, figures, units, states."""

import math
import re
from datetime import datetime
from typing import Any

from django import template
from django.http import QueryDict
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core.clock import now

register = template.Library()
MINUTE, HOUR, DAY = 60, 3600, 86400


@register.filter
def spoken(seconds: float | str | None) -> str:
    """A length of time in one or two words: `4 s`, `3 minutes`, `12 days`."""
    if seconds is None or isinstance(seconds, str):
        return ""
    seconds = abs(seconds)
    for limit, size, word in ((MINUTE, 1, "s"), (HOUR, MINUTE, "minute"), (2 * DAY, HOUR, "hour"), (float("inf"), DAY, "day")):
        if seconds < limit:
            count = int(seconds // size)
            return f"{count} s" if word == "s" else f"{count} {word}{'' if count == 1 else 's'}"
    return ""


@register.filter
def ago(moment: datetime | None) -> SafeString | str:
    """`3 days ago` or `in 2 hours`, with the exact UTC moment on hover and for screen readers."""
    if not isinstance(moment, datetime):
        return "never"
    delta = (now() - moment).total_seconds()
    words = "just now" if abs(delta) < 5 else f"{spoken(delta)} ago" if delta > 0 else f"in {spoken(delta)}"
    return format_html('<time datetime="{}" title="{}" tabindex="0">{}</time>', moment.isoformat(), utc(moment), words)


@register.filter
def moment(value: datetime | str | None) -> datetime | None:
    """A moment that a JSON document holds as text, for the filters below."""
    return datetime.fromisoformat(value) if isinstance(value, str) and value else value or None  # type: ignore[return-value]


@register.filter
def utc(moment: datetime | None) -> str:
    """`18 Nov 2026, 14:02:07 UTC`."""
    return f"{moment:%-d %b %Y, %H:%M:%S} UTC" if isinstance(moment, datetime) else "never"


@register.filter
def at(moment: datetime | None) -> SafeString | str:
    """The exact moment, `18 Nov 2026, 14:02:07 UTC`, also for machines."""
    if not isinstance(moment, datetime):
        return "never"
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), utc(moment))


@register.filter
def day(moment: datetime | None) -> SafeString | str:
    """The day of a moment, `18 Nov 2026`, also for machines."""
    if not isinstance(moment, datetime):
        return "never"
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), f"{moment:%-d %b %Y}")


@register.filter
def period(row: Any) -> SafeString:
    """From `period_start` until `period_end`: in days where both are midnights, to the second where they are not."""
    return between(row.period_start, row.period_end)


def between(start: datetime, end: datetime) -> SafeString:
    """`29 Aug 2026 to 5 Sep 2026`, or `21 Nov 2026, 11:58:01 to 11:58:16 UTC`."""
    if not any((*start.timetuple()[3:6], *end.timetuple()[3:6])):
        return format_html("{} to {}", day(start), day(end))
    if start.date() != end.date():
        return format_html("{} to {}", at(start), at(end))
    first = format_html('<time datetime="{}">{}</time>', start.isoformat(), f"{start:%-d %b %Y, %H:%M:%S}")
    return format_html('{} to <time datetime="{}">{} UTC</time>', first, end.isoformat(), f"{end:%H:%M:%S}")


@register.filter
def ran(row: Any) -> SafeString:
    """From `started_at` until `ended_at`."""
    return between(row.started_at, row.ended_at)


@register.filter
def short_digest(digest: str | None) -> str:
    """`9f3c51…e1a7` of a `sha256:` digest."""
    bare = (digest or "").removeprefix("sha256:")
    return f"{bare[:6]}…{bare[-4:]}" if len(bare) > 12 else bare


@register.filter
def short_digests(text: str) -> str:
    """The text with every whole digest in it shortened."""
    return re.sub(r"sha256:[0-9a-f]{64}", lambda found: f"sha256 {short_digest(found[0])}", text or "")


@register.filter
def page_of(source: str | None) -> str:
    """The page a person can look at for the source of a check; empty when it is not an address of ours."""
    source = source or ""
    if not re.fullmatch(r"/(?!/)[A-Za-z0-9_./%?=&#-]*", source):
        return ""
    if found := re.match(r"/api/v1/(models/[^/]+/versions/\d+|models/[^/]+|kpis/[^/]+|usecases/[^/]+|load-tests/[^/]+|endpoints/[^/]+)/", source):
        return f"/{found[1]}/"
    return source


@register.filter
def figure(value: float | int | None, digits: int = 2) -> str:
    """A number with thousands separators and at most `digits` decimals; a dash when there is none."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def trimmed(text: str | None) -> str:
    """A decimal that a document holds as text, without the zeros it ends with: `0.048000` -> `0.048`."""
    plain = str(text or "")
    return plain.rstrip("0").rstrip(".") if re.fullmatch(r"-?\d+\.\d+", plain) else plain


def concise(value: float) -> str:
    """A figure with thousands separated and about four significant digits: `1,240`, `412.5`, `3.07`, `0.0214`."""
    size = abs(value)
    if size == 0:
        return "0"
    decimals = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else min(12, max(4, 2 - math.floor(math.log10(size))))
    text = f"{value:,.{decimals}f}".replace("-", "\u2212")
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def measured(value: float | None, unit: str) -> str:
    """A KPI's figure with its unit: `412.5 EUR`; a share reads as a percentage; a dash when there is none."""
    if value is None or value == "":
        return "–"
    return f"{concise(value * 100)}%" if unit == "share" else f"{concise(value)} {unit}"


@register.filter
def money(value: float | str | None, currency: str) -> str:
    """An amount (a document holds it as text) with its currency, large or small: `31,195 USD`, `0.0014 USD`; a dash when there is none."""
    return "–" if value is None or value == "" else measured(float(value), currency)


@register.filter
def signed_measured(value: float | None, unit: str) -> str:
    """A difference with its sign and unit: `−96 EUR`; one of shares in percentage points."""
    if value is None or value == "":
        return "–"
    sign = "+" if value > 0 else ""
    return f"{sign}{concise(value * 100)} points" if unit == "share" else f"{sign}{concise(value)} {unit}"


@register.filter
def signed_pct(value: float | None) -> str:
    """A share as a signed percentage with a real minus: `−23%`."""
    return "–" if value is None else f"{value * 100:+.1f}%".replace("-", "−")


@register.filter
def state_class(state: str) -> str:
    """The class that repeats what a state's word says: pass, wait or fail."""
    good = {"pass", "passed", "approved", "ready", "live", "completed", "running", "sealed", "met", "ok", "quiet", "done", "active", "closed"}
    bad = {"fail", "failed", "rejected", "refused", "stopped", "missing", "missed", "drift", "void", "revoked", "open incident", "beyond the floor", "unreachable", "firing", "rolled_back", "rolled back", "worse", "lost", "not answering"}
    return "pass" if state in good else "fail" if state in bad else "wait"


@register.filter
def same(one: str, other: str) -> bool:
    """Whether both are the same text, for `with`."""
    return one == other


@register.filter
def listed(post: QueryDict, name: str) -> list[str]:
    """Everything a form sent under this name, for boxes that were ticked."""
    return post.getlist(name)


@register.filter
def words(value: str | None) -> str:
    """`ml_engineer` -> `ml engineer`; stage and state names for people."""
    special = {"poc": "proof of concept", "ml_engineer": "ML engineer", "on_hold": "on hold"}
    return special.get(value or "", (value or "").replace("_", " "))
