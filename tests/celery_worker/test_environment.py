"""The agent runs where there is no Django; what it is told must be complete; GPUs are shown if there are any."""

import subprocess
from pathlib import Path

import pytest

from celery_worker.agent.gpus import read_gpus
from celery_worker.agent.settings import SettingsError, from_environment

from .conftest import ROOT, Keys, python_of

IMPORT_ALL = """
import importlib, importlib.util, pkgutil, sys
assert importlib.util.find_spec("django") is None, "this environment must not have Django"
import celery_worker.agent, celery_worker.orders
names = [m.name for m in pkgutil.walk_packages(celery_worker.agent.__path__, "celery_worker.agent.")]
for name in names:
    importlib.import_module(name)
strange = {m.partition(".")[0] for m in sys.modules} & {"django", "apps", "portal", "mlflow", "sklearn", "pandas"}
assert not strange, strange
print(len(names))
"""


def test_every_agent_module_imports_where_django_is_absent() -> None:
    python = python_of(".venv-agent", "GATEHOUSE_AGENT_PYTHON")
    found = subprocess.run([str(python), "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, timeout=60, text=True)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) >= 14


def test_gpus_are_read_or_there_are_none() -> None:
    for gpu in read_gpus():
        assert set(gpu) == {"index", "uuid", "name", "memory_bytes", "memory_used_bytes", "utilisation_pct", "driver"}


def complete(keys: Keys, folder: Path) -> dict[str, str]:
    return {
        "GATEHOUSE_AGENT_NAME": "host-1",
        "GATEHOUSE_AGENT_STATE": str(folder),
        "GATEHOUSE_AGENT_KEY": str(keys.folder / "agent.pem"),
        "GATEHOUSE_ORDER_PUBLIC_KEYS": str(keys.folder / "order-public.json"),
        "GATEHOUSE_ENGINE_PYTHON_KSERVE": "/opt/kserve/bin/python",
    }


def test_a_complete_environment_is_read_without_showing_its_key(keys: Keys, tmp_path: Path) -> None:
    settings = from_environment(complete(keys, tmp_path))
    assert settings.host == "host-1"
    assert settings.engine_pythons == {"kserve": Path("/opt/kserve/bin/python")}
    assert "private_key" not in repr(settings)


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"GATEHOUSE_AGENT_NAME": ""}, "GATEHOUSE_AGENT_NAME"),
        ({"GATEHOUSE_AGENT_NAME": "../x"}, "GATEHOUSE_AGENT_NAME"),
        ({"GATEHOUSE_AGENT_KEY": "/nowhere"}, "GATEHOUSE_AGENT_KEY"),
        ({"GATEHOUSE_ORDER_PUBLIC_KEYS": "/nowhere"}, "GATEHOUSE_ORDER_PUBLIC_KEYS"),
        ({"GATEHOUSE_AGENT_STATE": ""}, "GATEHOUSE_AGENT_STATE"),
    ],
)
def test_what_is_missing_is_named(keys: Keys, tmp_path: Path, changes: dict[str, str], variable: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        from_environment(complete(keys, tmp_path) | changes)


def test_keys_for_another_purpose_do_not_count(keys: Keys, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text((keys.folder / "order-public.json").read_text().replace('"order"', '"seal"'))
    with pytest.raises(SettingsError, match="purpose"):
        from_environment(complete(keys, tmp_path) | {"GATEHOUSE_ORDER_PUBLIC_KEYS": str(path)})
