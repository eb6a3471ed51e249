"""Build models of several kinds, load each as the engine does, and print what came of it. Run by the engine's python.

`python flavours_check.py WORK_FOLDER` prints one JSON object: case -> result.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "celery_worker" / "serving" / "kserve"))

import flavours  # noqa: E402
import mlflow.pyfunc  # noqa: E402
import mlflow.sklearn  # noqa: E402
import mlflow.statsmodels  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import skops.io  # noqa: E402
import statsmodels.api as sm  # noqa: E402
import yaml  # noqa: E402
from mlflow.models import ModelSignature, infer_signature  # noqa: E402
from mlflow.types.schema import ColSpec, Schema  # noqa: E402
from sklearn.compose import make_column_transformer  # noqa: E402
from sklearn.datasets import load_breast_cancer, load_iris  # noqa: E402
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: E402
from sklearn.svm import SVR  # noqa: E402

WORK = Path(sys.argv[1])
FORMS = {"double": "FP64", "long": "INT64", "integer": "INT32", "string": "BYTES", "boolean": "BOOL", "float": "FP32"}


def save(name: str, model: Any, frame: pd.DataFrame, module: Any = mlflow.sklearn, **named: Any) -> Path:
    folder = WORK / name
    named.setdefault("signature", infer_signature(frame, np.asarray(model.predict(frame))))
    if module is mlflow.sklearn and "serialization_format" not in named:
        named["skops_trusted_types"] = skops.io.get_untrusted_types(data=skops.io.dumps(model)) or None
    module.save_model(model, str(folder), pip_requirements=["scikit-learn"], **named)
    return folder


def ask(folder: Path, frame: pd.DataFrame) -> tuple[flavours.Served, np.ndarray, np.ndarray | None]:
    served = flavours.load(folder)
    types = {column.name: column.type for column in served.schema.columns}
    inputs = []
    for name in reversed(frame.columns):
        data = [None if pd.isna(value) else value for value in frame[name].tolist()]
        inputs.append({"name": name, "shape": [len(data)], "datatype": FORMS[types[name]], "data": data})
    prediction, probability = served.predict(served.schema.read({"inputs": inputs}))
    return served, prediction, probability


def refusal(folder: Path) -> str:
    try:
        flavours.load(folder)
    except flavours.CannotServe as error:
        return str(error)
    return ""


def edit(folder: Path, change: Any) -> None:
    path = folder / "MLmodel"
    described = yaml.safe_load(path.read_text())
    change(described)
    path.write_text(yaml.safe_dump(described))


def same(folder: Path, model: Any, frame: pd.DataFrame) -> dict[str, Any]:
    served, prediction, probability = ask(folder, frame)
    expected = np.asarray(model.predict(frame))
    found: dict[str, Any] = {"flavour": served.flavour, "same": bool(np.array_equal(prediction, expected))}
    if probability is not None:
        found["same_probability"] = bool(np.allclose(probability, model.predict_proba(frame)[:, 1], rtol=0, atol=1e-12))
    return found


def main() -> dict[str, Any]:
    found: dict[str, Any] = {}
    cancer = load_breast_cancer(as_frame=True)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(cancer.data, cancer.target)
    folder = save("linear", linear, cancer.data)
    found["linear"] = same(folder, linear, cancer.data)
    forest = RandomForestClassifier(20, random_state=1).fit(cancer.data, cancer.target)
    found["forest"] = same(save("forest", forest, cancer.data), forest, cancer.data)
    pickled = save("pickled", linear, cancer.data, serialization_format="cloudpickle")
    found["pickled"] = same(pickled, linear, cancer.data)
    iris = load_iris(as_frame=True)
    three = LogisticRegression(max_iter=500).fit(iris.data, iris.target)
    found["three_classes"] = same(save("three", three, iris.data), three, iris.data)
    regressor = SVR().fit(iris.data.iloc[:, :3], iris.data.iloc[:, 3])
    found["regression"] = same(save("regression", regressor, iris.data.iloc[:, :3]), regressor, iris.data.iloc[:, :3])

    people = pd.DataFrame({"city": ["Bonn", "Ulm", "Bonn", "Kiel"] * 10, "age": range(20, 60), "pay": np.linspace(1, 9, 40)})
    target = (people.pay * (people.city == "Bonn") > 3).astype(int)
    by_name = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder=StandardScaler()),
        LogisticRegression(),
    ).fit(people, target)
    found["by_name"] = same(save("by_name", by_name, people), by_name, people)
    numbers = people[["age", "pay"]]
    picks = make_pipeline(make_column_transformer((StandardScaler(), ["pay"])), LogisticRegression()).fit(numbers, target)
    found["numbers_by_name"] = same(save("picks", picks, numbers), picks, numbers)

    gaps = numbers.astype(float).copy()
    gaps.loc[::3, "pay"] = np.nan
    trees = HistGradientBoostingClassifier(max_iter=5).fit(gaps, target)
    optional = Schema([ColSpec("double", "age"), ColSpec("double", "pay", required=False)])
    signature = ModelSignature(inputs=optional)
    found["gaps"] = same(save("gaps", trees, gaps, signature=signature), trees, gaps)

    design = numbers.astype(float)
    glm = sm.GLM(target, design, family=sm.families.Binomial()).fit()
    folder = save("glm", glm, design, mlflow.statsmodels)
    served, prediction, _ = ask(folder, design)
    found["statsmodels"] = {"flavour": served.flavour, "same": bool(np.allclose(prediction, glm.predict(design)))}

    def trust_the_shell(described: dict[str, Any]) -> None:
        described["flavors"]["sklearn"]["skops_trusted_types"] = ["numpy.ndarray", "posix.system"]

    def age(described: dict[str, Any]) -> None:
        described["flavors"]["sklearn"]["sklearn_version"] = "0.24.2"

    edit(WORK / "linear", trust_the_shell)
    found["trusts_the_shell"] = refusal(WORK / "linear")
    edit(WORK / "forest", age)
    found["too_old"] = refusal(WORK / "forest")
    edit(WORK / "three", lambda described: described.pop("signature"))
    found["no_signature"] = refusal(WORK / "three")
    found["no_model"] = refusal(WORK)
    return found


if __name__ == "__main__":
    print(json.dumps(main()))
