"""Policies: sound or refused by field, published once, never changed; those that ship are complete."""

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from apps.approvals import checks, policy_rules, selectors, services
from apps.approvals.management.commands.load_policies import SHIPPED
from apps.approvals.models import PolicyVersion
from apps.audit.models import Event
from apps.core.actor import Actor
from apps.core.clock import now
from apps.core.errors import Conflict, Invalid, NotAllowed
from tests.approvals.conftest import policy

GOOD = {"checks": [{"check": "usecases.complete"}], "items": [{"item": "a", "text": "A.", "owner": "owner"}]}


def read(**changed):
    body = yaml.safe_load(policy("proposal_poc", {"business": 1}, **GOOD))
    changed = {"attestations" if k == "items" else k: v for k, v in changed.items()}
    return policy_rules.read(yaml.safe_dump(body | changed), checks.all_checks())


@pytest.mark.parametrize(
    ("changed", "where", "words"),
    [
        ({"gate": "pilot_retired"}, "gate", "choose"),
        ({"tier": "huge"}, "tier", "choose"),
        ({"name": ""}, "name", "text"),
        ({"version": 0}, "version", "whole number"),
        ({"version": True}, "version", "whole number"),
        ({"valid_days": 5000}, "valid_days", "whole number"),
        ({"due_days": "soon"}, "due_days", "whole number"),
        ({"colour": "blue"}, "colour", "unknown field"),
        ({"quorum": {}}, "quorum", "at least one"),
        ({"quorum": {"marketing": 1}}, "quorum.marketing", "unknown function"),
        ({"quorum": {"risk": 0}}, "quorum.risk", "1 to 20"),
        ({"quorum": {"risk": 2.5}}, "quorum.risk", "1 to 20"),
        ({"checks": [{"check": "usecases.perfect"}]}, "checks[0].check", "no check"),
        ({"checks": [{"check": "usecases.complete", "with": {"points": 3}}]}, "checks[0].with", "unknown parameter"),
        ({"checks": [{"check": "usecases.complete", "with": {"integrations": -1}}]}, "checks[0].with", "from 0"),
        ({"checks": [{"check": "usecases.complete"}, {"check": "usecases.complete"}]}, "checks[1]", "twice"),
        ({"checks": ["usecases.complete"]}, "checks[0]", "give `check`"),
        ({"checks": "all"}, "checks", "list"),
        ({"gate": "poc_pilot", "checks": []}, "checks", "attestations alone"),
        ({"items": [{"item": "a", "text": "A."}]}, "attestations[0]", "owner"),
        ({"items": [{"item": "a", "text": "A.", "owner": "nobody"}]}, "attestations[0].owner", "choose"),
        ({"items": [GOOD["items"][0], dict(GOOD["items"][0])]}, "attestations[1].item", "twice"),
    ],
)
def test_a_policy_that_is_not_sound_names_the_field(changed, where, words):
    with pytest.raises(Invalid, match=words) as refused:
        read(**changed)
    assert where in refused.value.errors


def test_a_sound_policy_is_read_with_defaults_filled_in():
    assert read()["checks"] == [
        {"check": "usecases.complete", "with": {"integrations": 1}, "title": checks.all_checks()["usecases.complete"].title}
    ]


def test_text_that_is_not_yaml_names_the_line():
    with pytest.raises(Invalid) as refused:
        policy_rules.read("name: x\nquorum: [1", checks.all_checks())
    assert any(k.startswith("line") for k in refused.value.errors)
    for text in ("- a list", "just words", "42"):
        with pytest.raises(Invalid, match="mapping"):
            policy_rules.read(text, checks.all_checks())


def test_yaml_that_would_build_objects_is_refused():
    with pytest.raises(Invalid, match="not YAML"):
        policy_rules.read("name: !!python/object/apply:os.system ['true']", checks.all_checks())


def test_every_policy_that_ships_is_sound_and_names_only_checks_that_exist():
    bodies = {f.stem: policy_rules.read(f.read_text(), checks.all_checks()) for f in sorted(SHIPPED.glob("*.yaml"))}
    assert {b["gate"] for b in bodies.values()} == set(policy_rules.GATES)
    for stem, body in bodies.items():
        assert stem.removesuffix("_minimal").removesuffix("_high") == body["gate"]
        if body["gate"] in policy_rules.NEEDS_CHECKS:
            computed = {c["check"] for c in body["checks"]}
            assert len(computed) >= 3, f"{stem} would pass on attestations alone"
            assert body["gate"] == "phase" or "registry.digest_known" in computed
    # What the gates of a use case's way ask for among them, at the strictest: everything that is computed for gates.
    strict = {c["check"] for stem in ("proposal_poc", "poc_pilot_high", "pilot_production_high", "phase", "production_retired") for c in bodies[stem]["checks"]}
    # A signature by keys that administrators trust is for those who sign their models: their own policies ask for it.
    assert strict == set(checks.all_checks()) - {"registry.signature_verified"}


NAMED = {
    "a KPI has a frozen baseline": ("kpis.baseline_frozen", {}),
    "load test at ten times the projected load": ("loadtests.latency_at_peak", {"multiplier": 10.0}),
    "drift reference set": ("monitoring.drift_reference", {}),
    "not worse than the version in production": ("registry.evaluation_not_worse", {}),
    "bias audit within bound": ("registry.bias_within_bound", {"least_ratio": 0.8}),
    "rollback rehearsed within so many days": ("deployments.rollback_rehearsed", {"max_age_days": 30}),
    "artifact scanned": ("registry.artifact_scanned", {}),
    "dataset lineage complete": ("registry.lineage_complete", {}),
    "model card complete": ("registry.card_complete", {}),
}


@pytest.mark.parametrize("what", NAMED)
def test_what_can_be_computed_is_asked_before_production_of_high_risk(what):
    body = policy_rules.read((SHIPPED / "pilot_production_high.yaml").read_text(), checks.all_checks())
    name, parameters = NAMED[what]
    (row,) = [c for c in body["checks"] if c["check"] == name]
    assert parameters.items() <= row["with"].items()


@pytest.mark.django_db
class TestPublishing:
    def test_the_shipped_policies_load_and_loading_again_changes_nothing(self):
        call_command("load_policies", verbosity=0)
        count = PolicyVersion.objects.count()
        call_command("load_policies", verbosity=0)
        assert PolicyVersion.objects.count() == count == 12
        assert Event.objects.filter(action="approvals.policy.published").count() == 12

    def test_a_text_that_shipped_later_is_the_next_version_and_what_was_published_stays(self, tmp_path, capsys):
        """As in a portal that began with another text under the same number."""
        old = (SHIPPED / "phase.yaml").read_text().replace("valid_days: 365", "valid_days: 100")
        (tmp_path / "phase.yaml").write_text(old)
        call_command("load_policies", dir=tmp_path)
        first = PolicyVersion.objects.get()
        before = (first.digest, first.text, first.body)
        (tmp_path / "phase.yaml").write_text((SHIPPED / "phase.yaml").read_text())
        call_command("load_policies", dir=tmp_path)
        assert "rollout-phase 2: published, after 1" in capsys.readouterr().out
        first.refresh_from_db()
        assert (first.digest, first.text, first.body) == before and first.version == 1
        second = selectors.policy_for("phase", "high")
        assert (second.version, second.body["valid_days"], second.body["version"]) == (2, 365, 2)
        assert "version: 2\n" in second.text and policy_rules.digest(policy_rules.read(second.text, checks.all_checks())) == second.digest
        call_command("load_policies", dir=tmp_path)
        assert "rollout-phase 2: there already" in capsys.readouterr().out and PolicyVersion.objects.count() == 2
        # Back to what asked for 100 days: one more version, not the first one again.
        (tmp_path / "phase.yaml").write_text(old)
        call_command("load_policies", dir=tmp_path)
        assert [p.body["valid_days"] for p in PolicyVersion.objects.order_by("version")] == [100, 365, 100]

    def test_a_gate_under_way_keeps_the_shipped_version_it_began_under(self, poc_gate, tmp_path):
        held = poc_gate.policy
        text = policy("proposal_poc", {"business": 2}, name=held.name, version=held.version)
        (tmp_path / "p.yaml").write_text(text)
        call_command("load_policies", dir=tmp_path)
        poc_gate.refresh_from_db()
        assert poc_gate.policy == held and selectors.policy_for("proposal_poc", "high").version == held.version + 1

    def test_a_text_that_only_says_it_in_other_words_of_yaml_is_no_new_version(self, tmp_path):
        call_command("load_policies", verbosity=0)
        count = PolicyVersion.objects.count()
        (tmp_path / "phase.yaml").write_text("# Reworded.\n" + (SHIPPED / "phase.yaml").read_text())
        call_command("load_policies", dir=tmp_path)
        assert PolicyVersion.objects.count() == count

    def test_a_parameter_that_a_check_got_since_makes_no_new_version_of_what_does_not_use_it(self, tmp_path, capsys):
        text = (SHIPPED / "pilot_production_minimal.yaml").read_text()
        (tmp_path / "p.yaml").write_text(text)
        # As the release before wrote it down: without the parameter that came later.
        body = policy_rules.read(text, checks.all_checks())
        for row in body["checks"]:
            row["with"] = {name: value for name, value in row["with"].items() if name != "during"}
        PolicyVersion.objects.create(
            name=body["name"], version=1, gate=body["gate"], tier=body["tier"], body=body, digest=policy_rules.digest(body), text=text,
            published_at=now(), method="installation",
        )  # fmt: skip
        call_command("load_policies", dir=tmp_path)
        assert "there already" in capsys.readouterr().out and PolicyVersion.objects.count() == 1
        row, new = services.publish_policy(actor=Actor.system("load_policies"), text=text)
        assert row.version == 1 and not new

    def test_a_bad_file_stops_loading_by_name(self, tmp_path):
        (tmp_path / "bad.yaml").write_text("name: x")
        with pytest.raises(CommandError, match=r"bad\.yaml: version \(line 1\)"):
            call_command("load_policies", dir=tmp_path)
        with pytest.raises(CommandError, match="no"):
            call_command("load_policies", dir=tmp_path / "nothing")

    def test_only_policy_owners_publish(self, make_user, actor_of):
        with pytest.raises(NotAllowed):
            services.publish_policy(actor=actor_of(make_user("approver:risk")), text=policy("proposal_poc", {"business": 1}))

    def test_the_same_version_with_other_content_is_refused(self, policies, system):
        text = yaml.safe_load(policy("proposal_poc", {"business": 2}, **GOOD))
        with pytest.raises(Conflict, match="version"):
            services.publish_policy(actor=system, text=yaml.safe_dump(text))

    def test_a_lower_version_is_refused_and_a_higher_one_comes_into_force(self, policies, system):
        new, fresh = services.publish_policy(actor=system, text=policy("proposal_poc", {"business": 2}, version=5, **GOOD))
        assert fresh and selectors.policy_for("proposal_poc", "high") == new
        with pytest.raises(Conflict, match="version"):
            services.publish_policy(actor=system, text=policy("proposal_poc", {"business": 2}, version=4, **GOOD))

    def test_the_tier_of_the_use_case_picks_its_own_policy(self, policies, system):
        strict, _ = services.publish_policy(
            actor=system, text=policy("proposal_poc", {"business": 1, "risk": 2}, name="strict", tier="high", **GOOD)
        )
        assert selectors.policy_for("proposal_poc", "high") == strict
        assert selectors.policy_for("proposal_poc", "limited") == policies[0]
        assert selectors.policy_for("retirement", "high") is None

    @pytest.mark.parametrize("statement", ["UPDATE approvals_policyversion SET body = '{}'", "DELETE FROM approvals_policyversion"])
    def test_raw_sql_cannot_change_a_published_policy(self, policies, statement):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
