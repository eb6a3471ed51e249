"""The walls of the house hold."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.apps import apps as django_apps
from django.conf import settings
from django.db.models import ForeignKey, ManyToManyField, OneToOneField

ROOT = Path(__file__).resolve().parents[2]
FLOORS = [
    "core", "audit", "outbox", "accounts", "notices", "decisions", "registry", "usecases", "kpis", "deployments", "loadtests", "monitoring",
    "approvals", "dashboard",
]  # fmt: skip
# Rules by another name than rules: what the classes of risk and the line of stages are.
RULES_TOO = ("usecases/materiality.py", "usecases/stage_line.py")


def test_every_app_has_its_floor():
    assert {path.parent.name for path in (ROOT / "apps").glob("*/apps.py")} == set(FLOORS)
    contract = (ROOT / ".importlinter").read_text().split("[importlinter:contract:floors]")[1].split("layers =\n")[1].split("\n\n")[0]
    assert [sorted(line.split(" | ")) for line in contract.replace("    ", "").splitlines()] == [
        ["audit", "outbox"] if name == "audit" else [name] for name in reversed(FLOORS) if name != "outbox"
    ]


def test_import_contracts_hold():
    result = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-6000:]


def test_foreign_keys_point_down_too():
    upward = []
    for model in django_apps.get_models():
        if model._meta.app_label not in FLOORS or not model.__module__.startswith("apps."):
            continue
        for field in model._meta.get_fields():
            if isinstance(field, ForeignKey | OneToOneField | ManyToManyField) and field.related_model._meta.app_label in FLOORS:
                here, there = FLOORS.index(model._meta.app_label), FLOORS.index(field.related_model._meta.app_label)
                if there > here:
                    upward.append(f"{model.__name__}.{field.name} -> {field.related_model.__name__}")
    assert not upward


def test_every_app_has_the_rooms_the_design_names():
    missing = []
    for name in FLOORS:
        for room in ("apps.py", "README.md"):
            if not (ROOT / "apps" / name / room).exists():
                missing.append(f"apps/{name}/{room}")
    assert not missing


def test_foundation_tables_stay_empty_of_models():
    assert not [m for m in django_apps.get_models() if m._meta.app_label in {"core", "dashboard"}]


def pure_files():
    """Each file of rules: `rules.py`, `*_rules.py`, folders of those names, and RULES_TOO."""
    for path in sorted((ROOT / "apps").glob("*/*")):
        if re.fullmatch(r"(\w+_)?rules(\.py)?", path.name):
            yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]
    yield from (ROOT / "apps" / name for name in RULES_TOO)


def test_rules_touch_neither_orm_nor_clock():
    files = {str(file.relative_to(ROOT / "apps")): file.read_text() for file in pure_files()}
    assert {
        "approvals/look_rules.py",
        "approvals/policy_rules/__init__.py",
        "usecases/phase_rules.py",
        "notices/rules.py",
        *RULES_TOO,
    } <= set(files)
    impure = re.compile(
        r"^\s*(from|import) django\.db|datetime\.now\(|timezone\.now\(|apps\.core\.clock import .*\bnow\b|\bclock\.now\(|time\.time\(", re.M
    )
    assert not [name for name, text in files.items() if impure.search(text)]


def test_every_action_is_declared_once_and_named_app_noun_verbed():
    seen: dict[str, str] = {}
    for module in settings.AUDIT_CATALOGUES:
        app = module.split(".")[1]
        for action, sentence in importlib.import_module(module).ACTIONS.items():
            assert re.fullmatch(rf"{app}\.[a-z_]+\.[a-z_]+", action), action
            assert sentence and action not in seen
            seen[action] = module
    assert seen


def test_every_declared_action_is_emitted_somewhere_and_nothing_undeclared_is():
    declared = {a for m in settings.AUDIT_CATALOGUES for a in importlib.import_module(m).ACTIONS}
    sources = "\n".join(
        p.read_text() for base in ("apps", "celery_worker", "portal") for p in (ROOT / base).rglob("*.py") if p.name != "audit_actions.py"
    )
    literals = set(re.findall(r"""["']([a-z]+\.[a-z_]+\.[a-z_]+)["']""", sources))
    assert not sorted(declared - literals), "declared and never emitted"
    emitted = set(re.findall(r"""(?:audit\.record|record)\(\s*["']([a-z_.]+)["']""", sources))
    assert not sorted(e for e in emitted if e not in declared), "emitted and not declared"


@pytest.mark.parametrize(
    "folder", ["apps", "portal", "celery_worker", "gateway", "verifier", "gatehouse_cli", "demo", "tests", "bench", "docs"]
)
def test_files_speak_of_the_product_alone(folder):
    bad = re.compile(r"/work/|/tmp/uvv|helper session|sub-?agent", re.I)
    guilty = [
        str(p.relative_to(ROOT))
        for p in (ROOT / folder).rglob("*")
        if p.is_file()
        and p.suffix in {".py", ".md", ".html", ".css", ".js", ".yml", ".yaml", ".toml"}
        and p.name != "test_walls.py"
        and bad.search(p.read_text(errors="ignore"))
    ]
    assert not guilty
