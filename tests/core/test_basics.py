"""Ids, canonical text, words for pages, problem details."""

import math
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core import clock, ids
from apps.core.canonical import canonical_json, digest_of
from apps.core.errors import Invalid
from apps.core.templatetags import gatehouse as words


def test_ids_are_version_7_and_ordered_by_time():
    many = [ids.new_id() for _ in range(50)]
    assert all(i.version == 7 and i.variant == uuid.RFC_4122 for i in many)
    assert [i.int >> 80 for i in many] == sorted(i.int >> 80 for i in many)


def test_a_secret_is_stored_as_its_hash_only():
    whole, public, digest = ids.new_secret("ghp")
    assert whole.startswith(f"ghp_{public}_") and len(digest) == 64 and digest == ids.secret_hash(whole)


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=5), st.booleans(), st.none()), max_size=5))
def test_canonical_text_does_not_depend_on_order(value):
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


def test_canonical_text_speaks_of_times_ids_and_decimals_as_text():
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    text = canonical_json({"at": moment, "d": Decimal("1.50"), "n": math.nan, "big": 2**60})
    assert text == '{"at":"2026-01-02T03:04:05.000006Z","big":"1152921504606846976","d":"1.50","n":null}'
    assert digest_of({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(("seconds", "said"), [(3, "3 s"), (61, "1 minute"), (7300, "2 hours"), (86400 * 3, "3 days")])
def test_lengths_of_time_are_said_in_words(seconds, said):
    assert words.spoken(seconds) == said


def test_moments_are_relative_with_the_exact_one_behind():
    with clock.fixed(datetime(2026, 1, 2, tzinfo=UTC)):
        html = words.ago(clock.now() - timedelta(days=3))
    assert "3 days ago" in html and "30 Dec 2025, 00:00:00 UTC" in html


def test_problem_details_name_fields_and_code():
    body = Invalid("name: needed.", errors={"name": ["Needed."]}).problem()
    assert body["status"] == 400 and body["type"] == "urn:gatehouse:problem:invalid" and body["errors"] == {"name": ["Needed."]}
