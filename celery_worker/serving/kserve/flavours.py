"""Load a model folder by its native flavour where there is one, by MLflow's pyfunc otherwise."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from checks import Batch, Schema
from numpy.typing import NDArray

# The list of trusted types lies inside the model itself, so it may only widen the loader within these libraries.
TRUSTED_LIBRARIES: Final = frozenset({"sklearn", "numpy", "scipy", "pandas", "xgboost", "lightgbm"})
# For these the predicted class is by construction the most probable one, so one pass gives both answers.
# fmt: off
CLASS_IS_MOST_PROBABLE: Final = frozenset({
    "LogisticRegression", "RandomForestClassifier", "ExtraTreesClassifier", "HistGradientBoostingClassifier",
    "GradientBoostingClassifier", "DecisionTreeClassifier", "GaussianNB", "MLPClassifier", "CalibratedClassifierCV",
    "LinearDiscriminantAnalysis", "QuadraticDiscriminantAnalysis",
})
# fmt: on

Answer = tuple[NDArray[Any], NDArray[Any] | None]


class CannotServe(Exception):
    """The model folder cannot be served here; the message says why and what to do."""


class Served:
    """A loaded model: `schema` of its inputs and `predict(batch) -> (prediction, probability or None)`."""

    def __init__(self, schema: Schema, predict: Callable[[Batch], Answer], flavour: str, example: Batch) -> None:
        self.schema = schema
        self.predict = predict
        self.flavour = flavour
        self.example = example


def load(folder: Path) -> Served:
    """Load the model in `folder`. Raises CannotServe."""
    try:
        description = yaml.safe_load((folder / "MLmodel").read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise CannotServe("The artifact has no readable MLmodel file; log it with MLflow.") from error
    flavours = description.get("flavors") or {}
    inputs = (description.get("signature") or {}).get("inputs")
    if not inputs:
        raise CannotServe("The model has no signature; log it with signature=infer_signature(...).")
    try:
        schema = Schema.from_signature(inputs)
    except (ValueError, KeyError, TypeError) as error:
        raise CannotServe(f"The model's signature cannot be served: {error}") from error
    if "sklearn" in flavours:
        model = _load_sklearn(folder, flavours["sklearn"])
        return _serve_sklearn(model, schema)
    if "python_function" in flavours:
        return _serve_pyfunc(folder, schema)
    raise CannotServe(f"No flavour of this model can be served: {', '.join(flavours) or 'none'}.")


# --- scikit-learn ------------------------------------------------------------------------------------------------


def _load_sklearn(folder: Path, flavour: dict[str, Any]) -> Any:
    import sklearn

    trained, here = str(flavour.get("sklearn_version", "")), sklearn.__version__
    if trained.split(".")[:2] != here.split(".")[:2]:
        raise CannotServe(f"The model was saved with scikit-learn {trained}, this engine has {here}; retrain or repin it.")
    if flavour.get("serialization_format") != "skops":
        import mlflow.sklearn

        return mlflow.sklearn.load_model(str(folder))
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    trusted = list(flavour.get("skops_trusted_types") or [])
    strange = sorted(name for name in trusted if name.partition(".")[0] not in TRUSTED_LIBRARIES)
    if strange:
        raise CannotServe(f"The model asks to trust types of unknown libraries: {', '.join(strange)[:300]}.")
    path = (folder / str(flavour.get("pickled_model"))).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise CannotServe("The MLmodel file names a model file that is not in the artifact.")
    try:
        return skops.io.load(path, trusted=trusted)
    except UntrustedTypesFoundException as error:
        raise CannotServe(f"The model needs types it does not name in skops_trusted_types: {error}") from error


def _serve_sklearn(model: Any, schema: Schema) -> Served:
    # Names were checked against the signature; the warning about a matrix without names would come with every call.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    classes = getattr(model, "classes_", None)
    with_probability = hasattr(model, "predict_proba") and classes is not None and len(classes) == 2
    final = model.steps[-1][1] if hasattr(model, "steps") else model
    one_pass = with_probability and type(final).__name__ in CLASS_IS_MOST_PROBABLE

    def answer(rows: Any) -> Answer:
        if not with_probability:
            return np.asarray(model.predict(rows)), None
        probabilities = model.predict_proba(rows)
        if one_pass:
            return classes[probabilities.argmax(axis=1)], probabilities[:, 1]
        return np.asarray(model.predict(rows)), probabilities[:, 1]

    def from_matrix(batch: Batch) -> Answer:
        return answer(batch.matrix)

    def from_frame(batch: Batch) -> Answer:
        return answer(to_frame(batch, schema))

    example = example_batch(schema)
    if schema.numeric and _same_answer(from_matrix, from_frame, example):
        if schema.all_required:
            import sklearn

            sklearn.set_config(assume_finite=True)  # `Schema.read` has refused what is not finite
        return Served(schema, from_matrix, "sklearn", example)
    return Served(schema, from_frame, "sklearn", example)


def _same_answer(fast: Callable[[Batch], Answer], safe: Callable[[Batch], Answer], example: Batch) -> bool:
    """Whether the model takes a bare matrix: a transformer that picks columns by name or type does not."""
    expected = safe(example)
    try:
        found = fast(example)
    except Exception:  # noqa: BLE001 - whatever a model raises on a matrix, the answer is: do not use one
        return False
    return all(
        (one is None and other is None) or (one is not None and other is not None and np.array_equal(one, other))
        for one, other in zip(found, expected, strict=True)
    )


# --- everything else ---------------------------------------------------------------------------------------------


def _serve_pyfunc(folder: Path, schema: Schema) -> Served:
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(str(folder))

    def answer(batch: Batch) -> Answer:
        return np.asarray(model.predict(to_frame(batch, schema))), None

    return Served(schema, answer, "pyfunc", example_batch(schema))


def to_frame(batch: Batch, schema: Schema) -> Any:
    """The batch as a pandas DataFrame with the dtypes of the signature."""
    import pandas as pd

    kinds = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}
    columns = {}
    for place, column in enumerate(schema.columns):
        if batch.matrix is not None:
            values: Any = batch.matrix[:, place]
        else:
            values = (batch.columns or {})[column.name]
        kind = kinds.get(column.type, "object")
        if not column.required and kind in ("int64", "int32", "bool"):
            kind = "float64"
        columns[column.name] = pd.Series(values, dtype=kind)
    return pd.DataFrame(columns)


def example_batch(schema: Schema) -> Batch:
    """Three rows that fit the schema, to warm the model up and to find out in which form it takes its rows."""
    rows = 3
    if schema.numeric:
        steps = np.linspace(0.0, 1.0, rows * len(schema.columns)).reshape(rows, -1)
        whole = [column.type not in ("double", "float") for column in schema.columns]
        steps[:, whole] = np.round(steps[:, whole])
        return Batch(rows, np.ascontiguousarray(steps))
    filler = {"string": "a", "boolean": False, "long": 1, "integer": 1}
    return Batch(rows, None, {c.name: [filler.get(c.type, 0.5)] * rows for c in schema.columns})
