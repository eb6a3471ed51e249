"""Whatever flavour a model is loaded by, the engine gives its very predictions, or says why it cannot."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script = Path(__file__).with_name("flavours_check.py")
    folder = tmp_path_factory.mktemp("flavours")
    done = subprocess.run([str(engine_python), str(script), str(folder)], capture_output=True, timeout=120, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    results: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return results


@pytest.mark.parametrize("case", ["linear", "forest", "pickled", "by_name", "numbers_by_name", "gaps"])
def test_two_classes_give_prediction_and_probability(found: dict[str, Any], case: str) -> None:
    assert found[case] == {"flavour": "sklearn", "same": True, "same_probability": True}


@pytest.mark.parametrize("case", ["three_classes", "regression"])
def test_other_models_give_the_prediction_alone(found: dict[str, Any], case: str) -> None:
    assert found[case] == {"flavour": "sklearn", "same": True}


def test_a_flavour_without_a_native_loader_is_served_by_pyfunc(found: dict[str, Any]) -> None:
    assert found["statsmodels"] == {"flavour": "pyfunc", "same": True}


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("trusts_the_shell", "posix.system"),
        ("too_old", "scikit-learn 0.24.2"),
        ("no_signature", "infer_signature"),
        ("no_model", "MLmodel"),
    ],
)
def test_a_model_that_cannot_be_served_says_why(found: dict[str, Any], case: str, words: str) -> None:
    assert words in found[case]
