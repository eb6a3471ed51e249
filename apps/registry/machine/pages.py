"""Searches over everything, for a caller who does not see everything: MLflow's pages are read one after the other, what is not to be
seen is left out, and what remains is cut into pages of the size that was asked for.

A page token of ours says where in MLflow's pages the next one begins: MLflow's own token, the size of page it was made for, and
how many rows of that page have been dealt with. It gives no right: whatever it says, rows are filtered again.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http.response import HttpResponseBase

from apps.core.errors import Invalid
from apps.registry.gateways import forward
from apps.registry.machine import answers, guard
from apps.registry.machine.routes import Route
from apps.registry.machine.sent import Sent

Ask = Callable[[Sent], forward.Answer]
MARK = "gh."
# Rows in one call to MLflow: more than was asked for when many of them may not be seen.
MOST_ROWS = 1_000
DEFAULT_ROWS = {"registered_models": 100, "model_versions": 10_000, "experiments": 1_000, "datasets": 1_000}
MOST_ASKED = 200_000
ROWS_OF = {"model": "registered_models", "version": "model_versions", "experiment": "experiments", "dataset": "datasets"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading goes on: after `skip` rows of the page that MLflow gives for `token` and `size`."""

    token: str = ""
    size: int = 0
    skip: int = 0

    def text(self) -> str:
        """As a caller gets it."""
        return MARK + base64.urlsafe_b64encode(json.dumps([self.token, self.size, self.skip]).encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> "Place":
        """Raises Invalid for what none of our answers can have held."""
        if not is_ours(text):
            return cls(token=text)
        try:
            token, size, skip = json.loads(base64.urlsafe_b64decode(text[len(MARK) :] + "=" * (-len(text) % 4 + 1)))
            place = cls(str(token), int(size), int(skip))
        except (ValueError, TypeError) as error:
            raise Invalid("page_token: it is none that a search of this endpoint has given. Begin the search again.") from error
        if not (0 <= place.size <= MOST_ROWS and 0 <= place.skip <= MOST_ROWS):
            raise Invalid("page_token: it is none that a search of this endpoint has given. Begin the search again.")
        return place


def is_ours(token: Any) -> bool:
    """Whether a page token was made here."""
    return isinstance(token, str) and token.startswith(MARK)


def serve(ask: Ask, route: Route, sent: Sent, seen: guard.Sight) -> HttpResponseBase:
    """One page of a filtered search."""
    field = ROWS_OF[route.obj]
    wanted = _wanted(sent, DEFAULT_ROWS[field])
    if sent.values.get("experiment_ids"):
        allowed = seen.experiments(sent.values["experiment_ids"])
        if not allowed:
            return answers.made({})
        sent.put("experiment_ids", [each for each in sent.values["experiment_ids"] if each in allowed])
    token = sent.values.get("page_token") or ""
    if not isinstance(token, str):
        raise Invalid("page_token: give text.")
    rows: list[Any] = []
    place, left_out, following = Place.read(token), False, ""
    while not following:
        size = place.size or (MOST_ROWS if left_out else min(MOST_ROWS, wanted))
        sent.put("max_results", size)
        sent.put("page_token", place.token or None)
        answer = ask(sent)
        answers.not_redirect(answer)
        data = answer.read(answers.MOST_ANSWER_BYTES)
        if answer.status != 200:
            return answers.whole(answer, data)
        page = answers.parsed(data)
        found = page.get(field, [])[place.skip :]
        shown = _shown(route.obj, found, seen)
        left_out = left_out or not all(shown)
        for number, (row, may_be_seen) in enumerate(zip(found, shown, strict=True), start=place.skip):
            if may_be_seen and len(rows) == wanted:
                following = Place(place.token, size, number).text()
                break
            if may_be_seen:
                rows.append(row)
        token = str(page.get("next_page_token") or "")
        if following or not token:
            break
        place = Place(token)
        if len(rows) == wanted and not left_out:
            # Nothing has been left out so far: whether something is to be seen beyond is found out when it is asked for.
            following = place.text()
    return answers.made(({field: rows} if rows else {}) | ({"next_page_token": following} if following else {}))


def _shown(obj: str, rows: list[dict[str, Any]], seen: guard.Sight) -> list[bool]:
    """For each row whether the caller may see it; one question for all of them."""
    if obj in {"model", "version"}:
        names = seen.models({str(row.get("name")) for row in rows})
        return [str(row.get("name")) in names for row in rows]
    if obj == "experiment":
        ids = seen.experiments({str(row.get("experiment_id")) for row in rows})
        return [str(row.get("experiment_id")) in ids for row in rows]
    of = [set(row.get("experiment_ids") or guard.experiments_of("dataset", row)) for row in rows]
    ids = seen.experiments(set().union(*of))
    return [bool(each) and each <= ids for each in of]


def _wanted(sent: Sent, default: int) -> int:
    value = sent.values.get("max_results")
    if value in (None, ""):
        return default
    try:
        number = int(str(value)) if not isinstance(value, bool) else 0
    except ValueError:
        number = 0
    if not 1 <= number <= MOST_ASKED:
        raise Invalid(f"max_results: {str(value)[:40]!r} is no number between 1 and {MOST_ASKED:,}.")
    return number
