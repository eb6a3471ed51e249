"""Taking events away as lines with proofs or as a table: at any size, in pieces, for those who may."""

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest

from apps.audit import downloads
from apps.audit.models import Download, Event
from apps.core import clock
from tests.audit.conftest import settle
from tests.audit.people import client, person
from verifier.__main__ import main

USECASE = "01900000-0000-7000-8000-0000000000aa"
OTHER = "01900000-0000-7000-8000-0000000000bb"
# Events that are like one that was recorded, many at once.
MORE = """
INSERT INTO audit_event (id, payload)
SELECT made.id, replace(replace(e.payload, e.id::text, made.id::text), '"reason":""', '"reason":"' || repeat('word ', %s) || '"')
FROM (SELECT id, payload FROM audit_event WHERE id = %s) e, LATERAL (
    SELECT (lpad(to_hex(1700000000000 + g), 12, '0') || '7' || substr(md5(g::text), 1, 3) || '8' || substr(md5(g::text), 4, 15))::uuid AS id
    FROM generate_series(1, %s) g
) made
"""


@pytest.fixture
def auditor(own_database):
    return client(person("auditor"))


def ask(api, **body):
    answer = api.post("/api/v1/audit/downloads/", body, format="json")
    assert answer.status_code == 201, answer.content
    return answer.json()


def take(api, download, **query):
    answer = api.get(f"/api/v1/audit/downloads/{download['id']}/content/", query)
    assert answer.status_code in (200, 206), answer.content
    return b"".join(answer.streaming_content)


def verified(data, witness_folder, tmp_path, capsys):
    path = tmp_path / "export.jsonl"
    path.write_bytes(data)
    code = main(["--bundle", str(path), "--checkpoint", str(witness_folder / "latest")])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_the_whole_trail_as_lines_verifies_as_the_whole(auditor, sealer, happen, witness_folder, tmp_path, capsys):
    happen(600)
    settle(sealer)
    made = ask(auditor, kind="jsonl")
    assert made["state"] == "ready" and made["total"] == made["tree_size"] and made["expires_at"]
    data = take(auditor, made)
    code, said = verified(data, witness_folder, tmp_path, capsys)
    assert code == 0 and "the whole trail" in said
    lines = data.decode().splitlines()
    assert json.loads(lines[0])["events"] == len(lines) - 2 == made["total"] and json.loads(lines[-1]) == {
        "end": True,
        "events": made["total"],
    }
    # A line is JSON like any other, with the event inside.
    assert json.loads(lines[5])["event"]["action"] and json.loads(lines[5])["leaf_index"] == 4
    happen(3)
    settle(sealer)
    assert take(auditor, made) == data, "what was asked for stays the same while the trail grows"
    assert verified(data, witness_folder, tmp_path, capsys)[0] == 0


def test_a_use_case_as_lines_is_single_events(auditor, sealer, happen, witness_folder, tmp_path, capsys):
    happen(3)
    for _ in range(4):
        happen(1, usecase_id=USECASE)
        happen(1, usecase_id=OTHER)
    settle(sealer)
    data = take(auditor, ask(auditor, kind="jsonl", usecase_id=USECASE))
    code, said = verified(data, witness_folder, tmp_path, capsys)
    assert code == 6 and "4 single events" in said
    assert verified(data.replace(b'"number":3', b'"number":9'), witness_folder, tmp_path, capsys)[0] == 1


def test_filters_are_those_of_the_list(auditor, sealer, happen):
    happen(2, obj_id="one")
    happen(3, obj_id="two")
    settle(sealer)
    rows = take(auditor, ask(auditor, kind="jsonl", object="two")).decode().splitlines()[1:-1]
    assert [json.loads(r)["event"]["object"]["id"] for r in rows] == ["two"] * 3
    refused = auditor.post("/api/v1/audit/downloads/", {"kind": "jsonl", "since": "soon"}, format="json")
    assert refused.status_code == 400 and list(refused.json()["errors"]) == ["since"]


@pytest.mark.parametrize("cut", [1, 7, 300])
def test_a_download_that_broke_off_goes_on_and_is_the_same(auditor, sealer, happen, witness_folder, tmp_path, capsys, cut):
    happen(310)
    settle(sealer)
    made = ask(auditor, kind="jsonl")
    whole = take(auditor, made)
    kept = b"".join(whole.splitlines(keepends=True)[: cut + 1])
    code, said = verified(kept, witness_folder, tmp_path, capsys)
    assert code == 1 and "breaks off" in said
    rest = take(auditor, made, after=json.loads(kept.splitlines()[-1])["leaf_index"])
    assert kept + rest == whole
    taken = Event.objects.filter(action="audit.download.taken").order_by("id")
    assert [e.facts["after"]["after"] for e in taken] == [-1, cut - 1]


def test_a_table_reads_in_any_spreadsheet_and_runs_nothing(auditor, sealer, happen):
    happen(1, reason='=HYPERLINK("http://evil")', obj_label="Umlaut ä, comma")
    settle(sealer)
    data = take(auditor, ask(auditor, kind="csv", search="HYPERLINK"))
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    assert len(rows) == 1 and rows[0]["reason"].startswith("'=") and rows[0]["object_label"] == "Umlaut ä, comma"
    assert rows[0]["action"] == "audit.trail.exported" and json.loads(rows[0]["after"]) == {"number": 0} and rows[0]["before"] == ""


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_memory_does_not_grow_with_the_export(auditor, sealer, happen, own_database, kind):
    (like,) = happen(1)
    with own_database.cursor() as cursor:
        cursor.execute(MORE, [300, like.id, 30_000])
    sealer.batch = 5_000
    settle(sealer)
    from apps.core.actor import Actor

    system = Actor.system("tests")
    found = downloads.request_download(actor=system, kind=kind)
    stream, sent, peak = downloads.content(system, found), 0, 0
    # The first third fills what is kept of the tree; it is bounded, and the rest finds it full.
    while sent < 20_000_000:
        sent += len(next(stream))
    before, begun = _resident(), sent
    for piece in stream:
        sent += len(piece)
        peak = max(peak, _resident())
    assert sent - begun > 25_000_000 and peak - before < 12_000_000, (sent, peak - before)


def _resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_a_damaged_trail_breaks_off_and_never_looks_whole(auditor, sealer, happen, attack):
    events = happen(5)
    settle(sealer)
    attack(f'UPDATE audit_event SET payload = replace(payload, \'"reason":""\', \'"reason":"forged"\') WHERE id = \'{events[2].id}\'')
    made = ask(auditor, kind="jsonl")
    answer = auditor.get(f"/api/v1/audit/downloads/{made['id']}/content/")
    got = b""
    with pytest.raises(Exception, match=r"not the text that was sealed|does not lead to the root"):
        for piece in answer.streaming_content:
            got += piece
    assert b'"end"' not in got


def test_an_event_that_is_gone_is_noticed(auditor, sealer, happen, attack):
    events = happen(5)
    settle(sealer)
    attack(f"DELETE FROM audit_event WHERE id = '{events[2].id}'")
    answer = auditor.get(f"/api/v1/audit/downloads/{ask(auditor, kind='csv')['id']}/content/")
    with pytest.raises(Exception, match="is gone"):
        b"".join(answer.streaming_content)


def scope(actor):
    return [USECASE]


def test_others_take_only_what_they_may_see_and_see_only_their_own(own_database, auditor, sealer, happen, settings):
    settings.AUDIT_USECASE_SCOPE = "tests.audit.test_downloads.scope"
    engineer = client(person("ml_engineer"))
    happen(2, usecase_id=USECASE)
    happen(2, usecase_id=OTHER)
    settle(sealer)
    for body, status in (({"kind": "csv"}, 403), ({"kind": "jsonl", "usecase_id": OTHER}, 404), ({"kind": "zip"}, 400)):
        assert engineer.post("/api/v1/audit/downloads/", body, format="json").status_code == status
    mine = ask(engineer, kind="jsonl", usecase_id=USECASE)
    assert mine["total"] == 2 and len(take(engineer, mine).splitlines()) == 4
    theirs = ask(auditor, kind="jsonl")
    assert engineer.get(f"/api/v1/audit/downloads/{theirs['id']}/").status_code == 404
    assert engineer.get(f"/api/v1/audit/downloads/{theirs['id']}/content/").status_code == 404
    assert [d["id"] for d in engineer.get("/api/v1/audit/downloads/").json()["results"]] == [mine["id"]]
    assert len(auditor.get("/api/v1/audit/downloads/").json()["results"]) == 2
    settings.AUDIT_USECASE_SCOPE = "tests.audit.test_downloads.nothing"
    assert engineer.get(f"/api/v1/audit/downloads/{mine['id']}/content/").status_code == 404, "access that was taken away counts"


def nothing(actor):
    return []


def test_a_file_expires_and_is_swept(auditor, sealer, happen):
    happen(1)
    settle(sealer)
    made = ask(auditor, kind="csv")
    with clock.fixed(clock.now() + timedelta(hours=25)):
        gone = auditor.get(f"/api/v1/audit/downloads/{made['id']}/content/")
        assert gone.status_code == 410 and "Ask for it again" in gone.json()["detail"]
        assert downloads.sweep() == 1 and downloads.sweep() == 0
    assert Download.objects.get(id=made["id"]).state == "expired"


def test_asking_is_an_event_and_before_anything_is_sealed_refused(auditor, happen, sealer):
    happen(1)
    assert auditor.post("/api/v1/audit/downloads/", {"kind": "csv"}, format="json").status_code == 409
    settle(sealer)
    made = ask(auditor, kind="csv", action="audit.trail")
    event = Event.objects.get(action="audit.download.requested")
    assert event.object_id == made["id"] and event.facts["after"]["filters"] == {"action": "audit.trail"}


def test_a_key_asks_for_one_file_however_often_it_is_sent(auditor, happen, sealer):
    happen(1)
    settle(sealer)
    send = {"format": "json", "headers": {"Idempotency-Key": "night-1"}}
    first = auditor.post("/api/v1/audit/downloads/", {"kind": "csv"}, **send)
    again = auditor.post("/api/v1/audit/downloads/", {"kind": "csv"}, **send)
    assert (first.status_code, again.status_code) == (201, 201) and again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json() and Download.objects.count() == 1
    assert auditor.post("/api/v1/audit/downloads/", {"kind": "jsonl"}, **send).status_code == 409
