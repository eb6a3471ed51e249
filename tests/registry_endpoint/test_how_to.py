"""The how-to pages about models do what they say: each block of a page is run in its order, as an engineer's shell and Python would."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from apps.accounts import services as accounts
from apps.registry import services
from apps.registry.models import Evaluation, Finding, GovernedDataset, LineageEvent, ModelVersion, SigningKey
from gatehouse_cli.paths import REPO, venv_bin
from tests.registry.test_sign_models import SIGNED

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
PAGES = REPO / "docs/how-to"
# A fenced block of Python or an indented block for the shell. What is fenced as something else is to read.
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$|((?:^    [^\n]*\n)+)", re.MULTILINE | re.DOTALL)


def blocks(page):
    """[(language, text)] of a page, in its order."""
    found = []
    for language, fenced, indented in BLOCK.findall((PAGES / page).read_text()):
        if indented:
            found.append(("sh", re.sub(r"^    ", "", indented, flags=re.MULTILINE)))
        elif language == "python":
            found.append(("python", fenced))
    return found


@pytest.fixture
def shell(live_server, mlflow_is_up, make_user, actor_of, tmp_path):
    """shell(page, role, *names) runs a page from its top; names: what the page calls things, made unlike other tests' things."""

    def run(page, role, names, between=lambda: None, instead=None):
        person = make_user(role)
        _, token = accounts.issue_token(actor=actor_of(person), user=person, name="how-to", scopes=["read", "write", "mlflow"])
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "_MLFLOW", "GATEHOUSE", "DJANGO", "DATABASE"))}
        environment = clean | {
            "GATEHOUSE_URL": live_server.url, "GATEHOUSE_TOKEN": token, "MLFLOW_TRACKING_URI": f"{live_server.url}/mlflow",
            "MLFLOW_TRACKING_TOKEN": token, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore", "GATEHOUSE_CALLED_FROM": str(tmp_path),
            "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        }  # fmt: skip
        (tmp_path / "gatehouse").write_text(f'#!/bin/sh\nPYTHONPATH={REPO} exec {venv_bin(".venv", "python")} -m gatehouse_cli "$@"\n')
        (tmp_path / "gatehouse").chmod(0o755)
        gathered, outputs = "set -e\n", []
        for language, text in blocks(page):
            for name, other in names.items():
                text = text.replace(name, other)
            text = (instead or (lambda t: t))(text)
            if language == "python":
                script = tmp_path / "script.py"
                script.write_text(text)
                words = [sys.executable, str(script)]
            else:
                # Variables of one block are used in the next; the addresses and tokens at the top are ours.
                kept = "\n".join(line for line in text.splitlines() if not line.startswith("export "))
                words = ["bash", "-c", f"{gathered}{kept}\n"]
                gathered += "".join(f"{line}\n" for line in re.findall(r"^[A-Z]+=\$\((?:.|\n)*?\)$", kept, re.MULTILINE))
            done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, f"{page}:\n{text}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
            outputs.append(done.stdout)
            if language == "python":
                between()
        return "\n".join(outputs)

    return run


def test_cards_and_evaluations(shell, tmp_path):
    name = f"returning-{secrets.token_hex(4)}"
    said = shell(
        "cards-and-evaluations.md", "ml_engineer", {"returning-members": name, "returning members": name},
        between=lambda: services.sync_version(name=name, version=1),
    )  # fmt: skip
    version = ModelVersion.objects.get(model__name=name)
    kept = {e.name: e for e in Evaluation.objects.filter(version=version, superseded_by=None)}
    assert set(kept) == {"held out", "clinic of March", "by age band"}
    held_out = {f["name"]: f for f in kept["held out"].figures["metrics"]}
    assert kept["held out"].dataset.name == "members-held-out" and held_out["recall_score"]["low"] < held_out["recall_score"]["value"]
    assert kept["by age band"].figures["worst"]["least"] == pytest.approx((70 / 190) / (84 / 210))
    assert '"owner_contact": "care-analytics@example.org"' in said
    page, markdown = (tmp_path / "card.html").read_text(), (tmp_path / "card.md").read_text()
    assert "@media print" in page and "Audited by age band" in page and "<script" not in page
    assert markdown.startswith("---\n") and "model-index:" in markdown and "calibration error" in markdown


def test_datasets_and_lineage(shell):
    mark = secrets.token_hex(4)
    name = f"bed-days-{mark}"
    said = shell(
        "datasets-and-lineage.md", "ml_engineer", {"bed-days": name, "ward-visits": f"ward-visits-{mark}"},
        between=lambda: services.sync_version(name=name, version=1),
    )  # fmt: skip
    assert GovernedDataset.objects.get(name=f"ward-visits-{mark}").sensitivity == "personal"
    assert name in said and "ward-visits" in said and '"schemaURL"' in said.replace("'", '"')
    assert LineageEvent.objects.filter(job_name="visits").count() == 1


def test_sign_models(shell, tmp_path, make_user, actor_of):
    name = f"signed-{secrets.token_hex(4)}"

    def instead(text):
        """The tool itself is not installed here: what it made of another folder stands in, so that the signature is real and of other files."""
        call = re.search(r"subprocess\.run\(.*?\n\)\n", text, re.DOTALL)
        if call:
            return text.replace(call[0], f"import shutil; shutil.copy({str(SIGNED / 'key.sig')!r}, 'signed-model/model.sig')\n")
        return re.sub(r"^openssl .*$", f"cp {SIGNED / 'key.pub.pem'} key.pub.pem", text, flags=re.MULTILINE)

    def read():
        services.sync_version(name=name, version=1)
        services.scan_version(name=name, version=1)

    shell("sign-models.md", "admin", {'"signed")': f'"{name}")'}, between=read, instead=instead)
    from apps.registry.selectors import signing_keys

    assert SigningKey.objects.get(name="Release team").kind == "key"
    found = signing_keys.of_version(ModelVersion.objects.get(model__name=name))
    assert found.state == "differs" and found.key == "Release team" and "MLmodel" in found.words


def test_findings(shell, endpoint, ready, system, mlflow_database, make_user):
    row = ready(endpoint("ml_engineer"))
    services.freeze_version(actor=system, version_id=row.id)
    mlflow_database("UPDATE params SET value = '99' WHERE run_uuid = %s AND key = 'depth'", row.run_id)
    services.look_at_version(name=row.model.name, version=1)
    owner = make_user("ml_engineer")
    said = shell("findings.md", "admin", {"NAME": row.model.name, "elena@example.org": owner.email})
    finding = Finding.objects.get(version=row, closed_at=None)
    assert str(finding.id) in said and "depth" in said
    row.model.refresh_from_db()
    assert row.model.owner_id == owner.id
