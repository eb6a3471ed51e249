"""Each save of a card is kept, nothing kept changes, and a card can be taken along."""

import re
from html.parser import HTMLParser

import pytest
import yaml
from django.db import IntegrityError, connection, transaction

from apps.core.errors import NotFound
from apps.registry import rules, services
from apps.registry.models import CardRevision
from apps.registry.rules.cards import as_html, as_markdown
from apps.registry.selectors import cards as reads
from tests.registry.world import make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def saved(system):
    """A card saved twice."""
    row = make_version()
    services.save_card(actor=system, version_id=row.id, limitations="weak on weekends", hardware="two cores")
    services.save_card(actor=system, version_id=row.id, limitations="weak on holidays")
    return row


def test_every_save_is_kept_with_who_and_what_was_known(saved):
    kept = list(reads.revisions(saved))
    assert [r.revision for r in kept] == [2, 1, 0] and kept[2].saved_by == "filled in from the run"
    assert kept[1].fields["limitations"] == "weak on weekends" and kept[0].fields["hardware"] == "two cores"
    assert kept[0].figures[0]["name"] == "recall" and kept[0].digest != kept[1].digest


@pytest.mark.parametrize("statement", ["UPDATE registry_cardrevision SET saved_by = 'me'", "DELETE FROM registry_cardrevision"])
def test_the_database_refuses_to_change_a_revision(saved, statement):
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert CardRevision.objects.count() == 3


def test_the_api_shows_history_difference_and_old_revisions(saved, api, make_user):
    client, at = api(make_user("ml_engineer")), "/api/v1/models/care-outreach/versions/1/card/"
    assert [r["revision"] for r in client.get(f"{at}revisions/").json()["results"]] == [2, 1, 0]
    assert client.get(f"{at}diff/?from=1&to=2").json() == {"limitations": [["same", "weak on "], ["del", "weekends"], ["ins", "holidays"]]}
    assert client.get(f"{at}diff/?from=1&to=7").status_code == 404
    assert "weak on weekends" in client.get(f"{at}markdown/?revision=1").content.decode()
    assert list(client.get(f"{at}markdown/?revision=x").json()["errors"]) == ["revision"]
    assert api(make_user("stakeholder")).get(f"{at}revisions/").status_code == 404


def test_a_revision_that_was_never_saved_is_not_found(saved):
    with pytest.raises(NotFound, match="no revision 9"):
        reads.document(saved, 9)


class Addresses(HTMLParser):
    """Whatever a page would fetch."""

    def __init__(self):
        super().__init__()
        self.tags, self.fetched = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.fetched += [v for k, v in attrs if k in {"src", "href", "action"}]


def test_the_html_needs_no_network_and_runs_nothing(saved, system):
    services.save_card(actor=system, version_id=saved.id, ethical="<script>alert(1)</script> & <img src=x>")
    text = as_html(reads.document(saved))
    seen = Addresses()
    seen.feed(text)
    assert not seen.fetched and "script" not in seen.tags and "img" not in seen.tags and "@media print" in text
    assert "&lt;script&gt;" in text and "weak on holidays" in text and "url(" not in text


def test_the_markdown_has_the_metadata_that_hugging_face_reads(saved, system):
    services.attach_evaluation(
        actor=system, version_id=saved.id,
        document={"kind": "evaluation", "name": "held out", "task": "tabular-classification", "dataset": {"name": "visits-validation", "digest": "dvali"},
                  "metrics": [{"name": "recall", "successes": 80, "n": 100, "better": "higher"}]},
    )  # fmt: skip
    head, _, body = as_markdown(reads.document(saved)).removeprefix("---\n").partition("\n---\n")
    told = yaml.safe_load(head)
    assert told["library_name"] == "sklearn" and "visits-validation" in told["datasets"] and told["metrics"] == ["recall"]
    result = told["model-index"][0]["results"][0]
    assert told["model-index"][0]["name"] == "care-outreach" and result["task"] == {"type": "tabular-classification"}
    assert result["dataset"]["name"] == "visits-validation" and result["metrics"][0]["value"] == 0.8
    assert result["metrics"][0]["args"]["ci95_low"] == pytest.approx(0.7112, abs=1e-4)
    assert "| recall | 0.8 | 0.7112 to 0.8666 | visits-validation |" in body and "weak on holidays" in body


def test_text_cannot_forge_a_part_of_the_card(saved, system):
    services.save_card(actor=system, version_id=saved.id, ethical="fine\n---\nlicense: mit\n---\n# Approved")
    body = as_markdown(reads.document(saved))
    assert not re.search(r"^# Approved", body, re.M) and len(re.findall(r"^---$", body, re.M)) == 2


def test_a_card_begins_with_what_the_run_says():
    facts = rules.VersionFacts(
        name="m",
        version=1,
        state="ready",
        flavor="sklearn",
        sizes={"a": 2_000_000},
        signature={"inputs": [{"name": "age", "type": "double"}], "outputs": [{"type": "long"}]},
    )
    told = rules.prefilled_card(facts)
    assert (
        told["instructions"] == "Send rows with age (double). It answers long."
        and told["hardware"] == "Its files take 2.0 MB; flavour sklearn."
    )
