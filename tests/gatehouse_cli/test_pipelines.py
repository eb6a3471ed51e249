"""The pipelines of the documentation, their shell steps run as they stand there against a live portal."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from gatehouse_cli import client
from gatehouse_cli.paths import REPO
from tests.approvals.conftest import (  # noqa: F401
    DIGEST,
    at_stage,
    business,
    engineer,
    owner,
    policies,
    risk,
    security,
    sign,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
BLOCKS = re.findall(r"```(yaml|groovy)\n(.*?)```", (REPO / "docs" / "how-to" / "pipelines.md").read_text(), re.DOTALL)


def github_actions() -> tuple[str, str]:
    (text,) = [body for kind, body in BLOCKS if kind == "yaml" and "workflow_dispatch" in body]
    (step,) = [s for s in yaml.safe_load(text)["jobs"]["gate"]["steps"] if "run" in s]
    assert {"GATEHOUSE_URL", "GATEHOUSE_TOKEN", "VERSION"} == set(step["env"])
    return "bash -eo pipefail", step["run"]


def jenkins() -> tuple[str, str]:
    (text,) = [body for kind, body in BLOCKS if kind == "groovy"]
    (step,) = re.findall(r"sh '''(.*?)'''", text, re.DOTALL)
    return "sh -xe", step


def argo_cd() -> tuple[str, str]:
    (text,) = [body for kind, body in BLOCKS if kind == "yaml" and "PreSync" in body]
    job = yaml.safe_load(text)
    assert job["kind"] == "Job" and job["spec"]["backoffLimit"] == 0
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert {"GATEHOUSE_URL", "GATEHOUSE_TOKEN", "VERSION", "ARTIFACT_DIGEST"} == {e["name"] for e in container["env"]}
    return " ".join(container["command"]), container["args"][0]


STEPS = {"GitHub Actions": github_actions, "Jenkins": jenkins, "Argo CD": argo_cd}


@pytest.fixture
def version(engineer, db):  # noqa: F811
    """care-outreach/1, as the documentation calls it."""
    from apps.registry.models import ModelVersion, RegisteredModel

    model = RegisteredModel.objects.create(name="care-outreach")
    return ModelVersion.objects.create(
        model=model, version=1, run_id="r1", status="ready", artifact_digest=DIGEST, author_user=engineer, author=str(engineer)
    )


@pytest.fixture
def usecase(owner, engineer, actor_of, version):  # noqa: F811
    from apps.usecases import services

    made = services.create_usecase(
        actor=actor_of(owner), name="Care outreach", problem="P.", risk_tier="high", decision_supported="D.", output_users="U.", sponsor=owner,
        integrations=[{"name": "Register", "direction": "in"}],
    )  # fmt: skip
    services.give_access(actor=actor_of(owner), usecase_id=made.id, user=engineer, level="change")
    services.link_model(actor=actor_of(engineer), usecase_id=made.id, model_name="care-outreach")
    return made


@pytest.fixture
def gate(policies, usecase, at_stage, engineer, actor_of, version):  # noqa: F811
    """pilot -> production for care-outreach/1, open."""
    from apps.approvals import services

    at_stage("pilot")
    found = services.open_gate(actor=actor_of(engineer), usecase_id=usecase.id, to_stage="production", model_version_id=version.id)
    return services.request_gate(actor=actor_of(engineer), gate_id=found.id)


@pytest.fixture
def passed(gate, sign, business, risk, security):  # noqa: F811
    for person, function in ((business, "business"), (risk, "risk"), (security, "security")):
        sign(gate, person, function)
    gate.refresh_from_db()
    assert gate.state == "approved"
    return gate


@pytest.fixture
def token(actor_of, owner):  # noqa: F811
    from apps.accounts import services

    return services.issue_token(actor=actor_of(owner), user=owner, name="pipeline", scopes=["read"])[1]


@pytest.fixture
def run(live_server, token, tmp_path):
    """run("Jenkins") -> exit code and output of its step, in a workspace with a checkout of Gatehouse."""

    def step(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        shell, script = STEPS[name]()
        (tmp_path / "gatehouse").is_symlink() or (tmp_path / "gatehouse").symlink_to(REPO)
        told = {
            "PATH": f"{REPO}:{os.environ['PATH']}", "HOME": str(tmp_path), "GATEHOUSE_URL": live_server.url, "GATEHOUSE_TOKEN": token,
            "VERSION": "1", "ARTIFACT_DIGEST": DIGEST, "WAIT_S": "0",
        }  # fmt: skip
        command = [*shell.split(), script] if shell.endswith("c") else [*shell.split(), "-c", script]
        return subprocess.run(command, cwd=tmp_path, env=told | environment, capture_output=True, text=True, timeout=120, check=False)

    return step


@pytest.mark.parametrize("name", STEPS)
def test_a_passed_gate_lets_the_pipeline_go_on(run, passed, name):
    done = run(name)
    assert done.returncode == client.DONE, done.stderr
    assert '"passed": true' in done.stdout


@pytest.mark.parametrize("name", STEPS)
def test_one_that_waits_for_signatures_does_not(run, gate, name):
    done = run(name)
    assert done.returncode == client.TOO_LATE, done.stderr
    assert "signatures are wanted: 1 business, 1 risk, 1 security" in done.stdout


@pytest.mark.parametrize("name", STEPS)
def test_nor_does_a_revoked_one_nor_another_version(run, passed, system, name):
    from apps.approvals import services

    assert run(name, VERSION="2").returncode == client.NOT_FOUND
    services.revoke_decision(actor=system, decision_id=passed.decision_id, reason="A mistake.")
    done = run(name)
    assert done.returncode == client.REFUSED and '"passed": false' in done.stdout


def test_argo_cd_lets_no_other_files_through(run, passed):
    done = run("Argo CD", ARTIFACT_DIGEST="sha256:" + "b" * 64)
    assert done.returncode == client.REFUSED and "not for sha256:bbbb" in done.stdout


@pytest.mark.parametrize("name", STEPS)
def test_a_wrong_token_and_a_portal_that_is_away_stop_it(run, passed, name):
    assert run(name, GATEHOUSE_TOKEN="ghp_wrong").returncode == client.NOT_ALLOWED
    assert run(name, GATEHOUSE_URL="http://127.0.0.1:9").returncode == client.UNREACHABLE


def test_the_page_says_all_exit_codes():
    text = Path(REPO / "docs" / "how-to" / "pipelines.md").read_text()
    assert {int(row) for row in re.findall(r"^\| (\d) \|", text, re.MULTILINE)} == set(range(client.TOO_LATE + 1))
