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
    file = browser(engineer).get(f"/policies/{policies[0].id}.yaml")
    assert file.content.decode() == policies[0].text and "test-proposal" in file["Content-Disposition"]
    assert browser(engineer).get("/policies/new/").status_code == 403
    assert "Write a policy" in browser(make_user("policy_owner")).get("/policies/").content.decode()


def test_trying_and_publishing(policies, make_user):
    for _ in range(2):
        make_user("approver:business")
    owner = browser(make_user("policy_owner", name="Pia Policy"))
    assert "name: test-proposal_poc" in owner.get(f"/policies/new/?from={policies[0].id}").content.decode()
    text = policy("proposal_poc", {"business": 2}, version=2)
    tried = owner.post("/policies/new/", {"text": text, "do": "try"})
    assert tried.status_code == 200 and ">sound</span>" in tried.content.decode() and PolicyVersion.objects.count() == 4
    bad = owner.post("/policies/new/", {"text": text.replace("business: 2", "business: none"), "do": "try"})
    said, line = bad.content.decode(), text.split("\n").index("  business: 2") + 1
    assert bad.status_code == 400 and f"quorum.business (line {line})" in said and f'id="L{line}" class="bad"' in said
    assert "Sign and publish" not in said, "what is not sound is not signed"
    given = {"text": text, "do": "publish", "note": "Two.", "password": PASSWORD}
    wrong = owner.post("/policies/new/", given | {"password": "wrong"})
    assert wrong.status_code == 403 and "nothing was published" in wrong.content.decode() and "Two." in wrong.content.decode()
    done = owner.post("/policies/new/", given, follow=True).content.decode()
    assert "signed by Pia Policy" in done and "is published" in done


def test_it_is_checked_while_it_is_typed_and_shows_what_changes(policies, business, make_user, engineer):
    owner = browser(make_user("policy_owner"))
    text = policies[0].text.replace("due_days: 3", "due_days: 4").replace("version: 1", "version: 2")
    sound = owner.post("/policies/check/", {"text": text}).content.decode()
    assert (
        "sound" in sound
        and "What changes against test-proposal_poc 1" in sound
        and "<del>due_days: 3</del>" in sound
        and "<ins>due_days: 4</ins>" in sound
    )
    assert "<del>gate" not in sound and "Sign and publish test-proposal_poc 2" in sound
    same = owner.post("/policies/check/", {"text": policies[0].text}).content.decode()
    assert "Nothing changes" in same and "Sign and publish" not in same
    wrong = owner.post("/policies/check/", {"text": text.replace("due_days: 4", "due_days: never")})
    assert wrong.status_code == 200 and "due_days (line" in wrong.content.decode() and 'class="bad"' in wrong.content.decode()
    assert browser(engineer).post("/policies/check/", {"text": text}).status_code == 403
    assert PolicyVersion.objects.count() == 4
