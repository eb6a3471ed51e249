"""The policy pages: read by everybody, written by policy owners, with the line that is wrong."""

import pytest

from apps.approvals.models import PolicyVersion
from tests.approvals.conftest import policy
from tests.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def browser(user):
    from django.test import Client

    made = Client()
    made.force_login(user)
    return made


def test_everybody_reads_what_is_asked_and_only_policy_owners_write(policies, engineer, make_user):
    page = browser(engineer).get("/policies/").content.decode()
    assert "test-proposal_poc 1" in page and "in force" in page and "Write a policy" not in page
    assert browser(engineer).get(f"/policies/{policies[0].id}/").status_code == 200
    assert browser(engineer).get("/policies/new/").status_code == 403
    assert "Write a policy" in browser(make_user("policy_owner")).get("/policies/").content.decode()


def test_trying_and_publishing(policies, make_user):
    owner = browser(make_user("policy_owner", name="Pia Policy"))
    assert "name: test-proposal_poc" in owner.get(f"/policies/new/?from={policies[0].id}").content.decode()
    text = policy("proposal_poc", {"business": 2}, version=2)
    tried = owner.post("/policies/new/", {"text": text, "do": "try"})
    assert tried.status_code == 200 and "is sound" in tried.content.decode() and PolicyVersion.objects.count() == 4
    bad = owner.post("/policies/new/", {"text": text.replace("business: 2", "business: none"), "do": "try"})
    assert bad.status_code == 400 and "quorum.business (line" in bad.content.decode() and "→" in bad.content.decode()
    given = {"text": text, "do": "publish", "note": "Two.", "password": PASSWORD}
    wrong = owner.post("/policies/new/", given | {"password": "wrong"})
    assert wrong.status_code == 403 and "nothing was published" in wrong.content.decode() and "Two." in wrong.content.decode()
    done = owner.post("/policies/new/", given, follow=True).content.decode()
    assert "signed by Pia Policy" in done and "is published" in done
