"""A system that follows the trail gets every event at least once, in one order that never changes."""

import json
import random
import threading
import time

import pytest
from django.db import connections, transaction

from apps.audit.feed import follow
from apps.audit.models import Event, Leaf
from apps.audit.services import record
from apps.core.actor import Actor
from tests.audit.conftest import settle
from tests.audit.people import client, person

USECASE = "01900000-0000-7000-8000-0000000000aa"


@pytest.fixture
def auditor(own_database):
    return client(person("auditor"))


def test_pages_follow_each_other_to_the_end(auditor, sealer, happen):
    happen(25)
    settle(sealer)
    size, after, seen = Event.objects.count(), -1, []
    while after < size - 1:
        answer = auditor.get("/api/v1/audit/feed/", {"limit": 10} | ({"after": after} if after >= 0 else {})).json()
        assert answer["sealed"] == size and len(answer["events"]) <= 10
        seen += answer["events"]
        after = answer["next_after"]
    assert [e["leaf_index"] for e in seen] == list(range(size))
    assert auditor.get("/api/v1/audit/feed/", {"after": after}).json() == {"events": [], "next_after": after, "sealed": size}


def test_what_is_not_sealed_comes_later(auditor, sealer, happen):
    happen(2)
    settle(sealer)
    first = auditor.get("/api/v1/audit/feed/").json()
    (late,) = happen(1)
    assert auditor.get("/api/v1/audit/feed/", {"after": first["next_after"]}).json()["events"] == []
    settle(sealer)
    (fed,) = auditor.get("/api/v1/audit/feed/", {"after": first["next_after"]}).json()["events"]
    assert fed["event"] == json.loads(late.payload)


def test_others_follow_what_they_may_see_and_get_past_the_rest(own_database, sealer, happen, settings):
    settings.AUDIT_USECASE_SCOPE = "tests.audit.test_feed.scope"
    engineer = client(person("ml_engineer"))
    happen(30)
    happen(2, usecase_id=USECASE)
    happen(30)
    settle(sealer)
    answer = engineer.get("/api/v1/audit/feed/", {"limit": 50}).json()
    assert [e["event"]["usecase_id"] for e in answer["events"] if e["event"]["action"] == "audit.trail.exported"] == [USECASE] * 2
    assert answer["next_after"] == answer["sealed"] - 1


def scope(actor):
    return [USECASE]


@pytest.mark.parametrize(("query", "status"), [({"limit": 0}, 400), ({"limit": 5000}, 400), ({"after": "x"}, 400), ({"after": 99999}, 200)])
def test_bad_places_are_refused_by_name(auditor, query, status):
    assert auditor.get("/api/v1/audit/feed/", query).status_code == status


def test_no_event_is_skipped_or_moved_while_many_write_and_commit_out_of_order(sealer, own_database, actor):
    stop, failures, seen = threading.Event(), [], []

    def write(seed):
        chance = random.Random(seed)
        try:
            for n in range(25):
                with transaction.atomic():
                    record("audit.trail.exported", actor=actor, obj_type="trail", obj_id=f"{seed}/{n}")
                    # Some stay open while later ones commit.
                    time.sleep(chance.random() * (0.1 if chance.random() < 0.2 else 0.005))
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    def seal():
        try:
            sealer.run(stop, interval_s=0.01)
        finally:
            connections.close_all()

    def read():
        after = -1
        try:
            while not (stop.is_set() and after >= Leaf.objects.count() - 1):
                answer = follow(Actor.system("siem"), after=after, limit=random.randint(1, 20))
                # A crash before the place was kept: the same comes again.
                if random.random() < 0.2:
                    continue
                seen.extend(answer["events"])
                after = answer["next_after"]
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    writers = [threading.Thread(target=write, args=[seed]) for seed in range(6)]
    sealing, reading = threading.Thread(target=seal), threading.Thread(target=read)
    for thread in (*writers, sealing, reading):
        thread.start()
    for thread in writers:
        thread.join()
    deadline = time.monotonic() + 120
    while Leaf.objects.count() < Event.objects.count() and time.monotonic() < deadline:
        time.sleep(0.05)
    stop.set()
    reading.join(60)
    sealing.join(60)
    assert not failures
    assert [e["leaf_index"] for e in seen] == list(range(Event.objects.count()))
    assert {e["event"]["id"] for e in seen} == {str(i) for i in Event.objects.values_list("id", flat=True)}
