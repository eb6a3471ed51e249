"""The registry's pages with something on them, in a real browser: readable, by keyboard, inside their window, asking no other host."""

import json
import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.test import Client

from apps.registry import services as registry
from apps.registry.models import Dataset
from apps.registry.rules import signatures
from apps.registry.services import findings
from gatehouse_cli.paths import REPO
from tests.journeys.browser import NONE_INSTALLED, executable, required
from tests.registry.test_attach_evaluation import AUDIT, GOOD
from tests.registry.test_sign_models import DATA, FILES, SIGNED
from tests.registry.world import make_version

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(not executable() and not required(), reason=NONE_INSTALLED),
]


@pytest.fixture
def pages(system, make_user, actor_of):
    """A model with two versions, findings open and closed, a signature, keys, evaluations, a card; returns (administrator, paths)."""
    admin = make_user("admin")
    boss = actor_of(admin)
    one, two = make_version(), make_version(number=2, artifact_manifest={"files": {**FILES, "model.sig": "0" * 64}})
    for row in (one, two):
        registry.attach_evaluation(actor=boss, version_id=row.id, document=GOOD)
    registry.attach_evaluation(actor=boss, version_id=two.id, document=AUDIT)
    registry.save_card(actor=boss, version_id=two.id, limitations="weak on weekends", hardware="two cores")
    registry.record_failure_mode(
        actor=boss, model="care-outreach", title="Night calls", effect="It ranks members who work nights too low.",
        condition="Members who call between 22 and 6.", handling="The desk adds them by hand.", severity="medium",
    )  # fmt: skip
    read = signatures.read((SIGNED / "key.sig").read_text(), "model.sig", {**FILES, "model.sig": "0" * 64})
    files = [{"path": p, "size": len(d), "kind": "other", "safe": p == "MLmodel"} for p, d in DATA.items()]
    registry.record_scan(
        actor=system, version_id=two.id, digest=two.artifact_digest, files=files, signature=read,
        findings=[{"path": "weights/w.bin", "level": "warning", "what": "odd_package.loader is not known to be harmless."}],
    )  # fmt: skip
    registry.trust_key(actor=boss, name="Release team", pem=(SIGNED / "key.pub.pem").read_text())
    registry.trust_key(actor=boss, name="Example Ltd: root of 2026", pem=(SIGNED / "root.pem").read_text())
    old = registry.trust_key(actor=boss, name="Old laptop", pem=(SIGNED / "key384.pub.pem").read_text())
    registry.retire_key(actor=boss, key_id=old.id, because="The laptop was lost on a train.")
    given = {"actor": system, "model": two.model, "version": two}
    findings.raise_finding(
        kind="facts", key="2", detail="What MLflow says of care-outreach/2 is not what was frozen for its gate: metrics (recall).",
        expected={"metrics": {"recall": 0.72}}, found={"metrics": {"recall": 0.99}}, actor_label="Mallory", **given,
    )  # fmt: skip
    findings.raise_finding(
        kind="beside", key="2", detail="Files beside care-outreach/2, in the folder of its run, are not those that were frozen for its gate: more.txt.",
        expected={"beside": {}}, found={"beside": {"a-very-long-folder/with-a-report-of-the-evaluation/more.txt": 4}}, **given,
    )  # fmt: skip
    closed = findings.raise_finding(
        kind="alias",
        key="champion",
        detail="The alias champion pointed at version 1.",
        expected={"version": 2},
        found={"version": 1},
        **given,
    )
    findings.close_finding(actor=system, finding=closed, because="Put back: the alias champion points at version 2 again.")
    make_version("nobody-answers-for-this")
    dataset = Dataset.objects.get(name="visits-training")
    version = "/models/care-outreach/versions/2/"
    return admin, [
        "/models/", "/models/?governed=false", "/findings/", "/signing-keys/", "/models/care-outreach/", "/models/care-outreach/owner/",
        "/models/care-outreach/compare/?versions=1,2", "/models/care-outreach/failure-modes/", version, f"{version}scan/", f"{version}card/",
        f"{version}lineage/", f"{version}evaluations/", f"{version}history/", "/datasets/", f"/datasets/{dataset.id}/", "/search/?q=care",
    ]  # fmt: skip


def test_pages_of_the_registry_are_readable_and_usable_with_something_on_them(pages, live_server):
    person, paths = pages
    client = Client()
    client.force_login(person)
    session = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    words = [sys.executable, "-m", "tests.registry_web.look", live_server.url, session, os.environ.get("GATEHOUSE_PICTURES", ""), *paths]
    done = subprocess.run(words, cwd=REPO, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert not found, "\n".join(found)
