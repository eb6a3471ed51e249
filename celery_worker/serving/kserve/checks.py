"""Check an Open Inference Protocol request against a model's signature: names, types, nulls and shapes, once.

Everything is checked over whole columns at once; only when a check fails are single values looked at, to name the
column and row. Needs numpy alone, so it can be tested without the engine's environment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

TENSOR_NAME: Final = "input-0"
MAX_ROWS: Final = 100_000

_FLOATS: Final = frozenset({"FP16", "FP32", "FP64"})
_INTEGERS: Final = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_DATATYPES: Final = {
    "double": _FLOATS | _INTEGERS,
    "float": _FLOATS | _INTEGERS,
    "long": _INTEGERS,
    "integer": _INTEGERS,
    "boolean": frozenset({"BOOL"}),
    "string": frozenset({"BYTES"}),
}
_VALUE_TYPES: Final[dict[str, frozenset[type]]] = {
    "double": frozenset({float, int}),
    "float": frozenset({float, int}),
    "long": frozenset({int}),
    "integer": frozenset({int}),
    "boolean": frozenset({bool}),
    "string": frozenset({str}),
}
_OIP_TYPE: Final = {
    "double": "FP64",
    "float": "FP32",
    "long": "INT64",
    "integer": "INT32",
    "boolean": "BOOL",
    "string": "BYTES",
}
_WORDS: Final = {
    "double": "a number",
    "float": "a number",
    "long": "a whole number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "text",
}
_LIMITS: Final = {"integer": 2**31, "long": 2**53}
_NULL: Final = frozenset({type(None)})


class InvalidRequest(Exception):
    """A request that cannot be answered: `status` is 400 (not the protocol) or 422 (not what the model takes)."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Column:
    """One input of the model: its name, its MLflow type, and whether a value must be there."""

    name: str
    type: str = "double"
    required: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """Checked rows. `matrix` [n, k] float64 when every column is a number, else `columns` (name -> n values)."""

    rows: int
    matrix: NDArray[np.float64] | None
    columns: dict[str, Any] | None = None


class Schema:
    """The inputs of a model, in signature order, with the lookups a request needs made once."""

    def __init__(self, columns: Sequence[Column]) -> None:
        """Raises ValueError for a column type that is not served, a name used twice, or no column at all."""
        if not columns:
            raise ValueError("The model's signature names no input.")
        for column in columns:
            if column.type not in _DATATYPES:
                raise ValueError(f"Input {column.name!r} has type {column.type!r}, which this engine cannot serve.")
        self.columns = tuple(columns)
        self.names = [column.name for column in columns]
        self.index = {name: number for number, name in enumerate(self.names)}
        if len(self.index) != len(columns):
            raise ValueError("The model's signature names an input twice.")
        self.numeric = all(column.type != "string" for column in columns)
        self.all_required = all(column.required for column in columns)
        self._datatypes = [_DATATYPES[column.type] for column in columns]
        self._plain = all(column.type in ("double", "float") and column.required for column in columns)

    @classmethod
    def from_signature(cls, inputs: str) -> Schema:
        """Read MLflow's signature text (the `signature.inputs` of an MLmodel file). Raises ValueError."""
        columns: list[Column] = []
        for entry in json.loads(inputs):
            if entry.get("type") == "tensor":
                columns.extend(_columns_of_tensor(entry["tensor-spec"]))
            else:
                name = entry.get("name") or f"x{len(columns)}"
                columns.append(Column(name, str(entry.get("type")), bool(entry.get("required", True))))
        return cls(columns)

    def describe(self) -> list[dict[str, Any]]:
        """The inputs as the protocol's metadata shows them."""
        return [{"name": c.name, "datatype": _OIP_TYPE[c.type], "shape": [-1]} for c in self.columns]

    def read(self, request: Any) -> Batch:
        """Check one request (the parsed JSON body) and return its rows. Raises InvalidRequest."""
        inputs = request.get("inputs") if isinstance(request, dict) else None
        if not isinstance(inputs, list) or not inputs:
            raise InvalidRequest(400, "The body must be an object with a list 'inputs' of at least one tensor.")
        first = inputs[0]
        alone = len(inputs) == 1 and isinstance(first, dict) and TENSOR_NAME not in self.index
        if alone and first.get("name") == TENSOR_NAME:
            return self._read_tensor(first)
        return self._read_columns(inputs)

    # --- named columns -------------------------------------------------------------------------------------------

    def _read_columns(self, inputs: list[Any]) -> Batch:
        values: list[Any] = [None] * len(self.columns)
        rows = -1
        index, datatypes = self.index, self._datatypes
        for tensor in inputs:
            try:
                name, shape, data = tensor["name"], tensor["shape"], tensor["data"]
                place = index.get(name)
                if place is None:
                    raise InvalidRequest(422, f"Unknown input {str(name)[:200]!r}; the model takes {self._some_names()}.")
                if tensor["datatype"] not in datatypes[place]:
                    self._refuse_datatype(place)
                if rows < 0:
                    rows = _rows_of(shape, name)
                if shape != [rows] and shape != [rows, 1]:
                    raise InvalidRequest(422, f"Input {name!r}: its shape is not [{rows}] or [{rows}, 1] like the first's.")
            except (KeyError, TypeError) as error:
                raise InvalidRequest(400, "Every input is an object with name, shape, datatype and data.") from error
            if values[place] is not None:
                raise InvalidRequest(422, f"Input {name!r} is given twice.")
            if type(data) is not list or len(data) != rows:
                raise InvalidRequest(422, f"Input {name!r}: data must be a list of {rows} values, as its shape says.")
            values[place] = data
        if len(inputs) != len(values):
            for place, column in enumerate(self.columns):
                if values[place] is None:
                    if column.required:
                        raise InvalidRequest(422, f"Input {column.name!r} is missing.")
                    values[place] = [None] * rows
        kinds = set(map(type, chain.from_iterable(values)))
        if list in kinds:
            values = [self._flatten(place, data) for place, data in enumerate(values)]
        if not (self._plain and kinds <= _VALUE_TYPES["double"]):
            self._check_values(values)
        if not self.numeric:
            return Batch(rows, None, dict(zip(self.names, values, strict=True)))
        return Batch(rows, self._to_matrix(values))

    def _to_matrix(self, values: list[Any]) -> NDArray[np.float64]:
        try:
            matrix = np.array(values, dtype=np.float64)
        except OverflowError as error:
            raise InvalidRequest(422, "A number is too large for 64 bits.") from error
        if self.all_required and not np.isfinite(matrix).all():
            place = int(np.argwhere(~np.isfinite(matrix))[0][0])
            raise InvalidRequest(422, f"Input {self.names[place]!r} holds a value that is not finite.")
        return np.ascontiguousarray(matrix.T)

    def _flatten(self, place: int, data: list[Any]) -> list[Any]:
        if list not in set(map(type, data)):
            return data
        if not all(type(value) is list and len(value) == 1 for value in data):
            raise InvalidRequest(422, f"Input {self.names[place]!r}: data must be flat, or one value per row.")
        return [value[0] for value in data]

    def _check_values(self, values: list[Any]) -> None:
        for column, data in zip(self.columns, values, strict=True):
            allowed = _VALUE_TYPES[column.type]
            if not column.required:
                allowed = allowed | _NULL
            if not set(map(type, data)) <= allowed:
                row = next(number for number, value in enumerate(data) if type(value) not in allowed)
                wrong = "is null" if data[row] is None else f"is not {_WORDS[column.type]}"
                raise InvalidRequest(422, f"Input {column.name!r}: the value in row {row} {wrong}.")
            limit = _LIMITS.get(column.type)
            if limit is not None and any(value is not None and not -limit <= value < limit for value in data):
                raise InvalidRequest(422, f"Input {column.name!r} holds a number too large for {column.type}.")

    def _refuse_datatype(self, place: int) -> None:
        column = self.columns[place]
        allowed = ", ".join(sorted(self._datatypes[place]))
        raise InvalidRequest(422, f"Input {column.name!r} must hold {_WORDS[column.type]}; its datatype may be {allowed}.")

    def _some_names(self) -> str:
        shown = ", ".join(repr(name) for name in self.names[:5])
        return shown if len(self.names) <= 5 else f"{shown} and {len(self.names) - 5} more"

    # --- one tensor ----------------------------------------------------------------------------------------------

    def _read_tensor(self, tensor: dict[str, Any]) -> Batch:
        if not self.numeric:
            raise InvalidRequest(422, f"This model takes text; send named inputs instead of {TENSOR_NAME!r}.")
        shape, data, width = tensor.get("shape"), tensor.get("data"), len(self.columns)
        if tensor.get("datatype") not in _FLOATS | _INTEGERS:
            raise InvalidRequest(422, f"{TENSOR_NAME!r} must hold numbers; its datatype may be FP64 or INT64.")
        if not isinstance(shape, list) or len(shape) != 2 or shape[1] != width:
            raise InvalidRequest(422, f"{TENSOR_NAME!r} must have shape [n, {width}], columns in signature order.")
        rows = _rows_of(shape[:1], TENSOR_NAME)
        if not isinstance(data, list):
            raise InvalidRequest(400, f"{TENSOR_NAME!r}: data must be a list.")
        if data and type(data[0]) is list:
            if len(data) != rows or not all(type(row) is list and len(row) == width for row in data):
                raise InvalidRequest(422, f"{TENSOR_NAME!r}: data is not {rows} rows of {width} values.")
            data = list(chain.from_iterable(data))
        if len(data) != rows * width:
            raise InvalidRequest(422, f"{TENSOR_NAME!r}: data holds {len(data)} values, its shape says {rows * width}.")
        kinds = set(map(type, data))
        if not self._plain or not kinds <= _VALUE_TYPES["double"]:
            self._check_tensor_values(data, kinds)
        return Batch(rows, np.ascontiguousarray(self._to_matrix([data[place::width] for place in range(width)])))

    def _check_tensor_values(self, data: list[Any], kinds: set[type]) -> None:
        width = len(self.columns)
        for place, column in enumerate(self.columns):
            part = data[place::width]
            if not column.required:
                part = [value for value in part if value is not None]
            if not set(map(type, part)) <= _VALUE_TYPES["double"]:
                raise InvalidRequest(422, f"Input {column.name!r} holds a value that is null or not a number.")
            if column.type not in ("double", "float") and any(value != int(value) for value in part):
                raise InvalidRequest(422, f"Input {column.name!r} must hold {_WORDS[column.type]}.")


def _columns_of_tensor(spec: Mapping[str, Any]) -> list[Column]:
    shape = spec.get("shape", [])
    if len(shape) != 2 or shape[1] < 1:
        raise ValueError("Only tensors of shape [-1, k] are served.")
    if np.dtype(spec["dtype"]).kind not in "fiu":
        raise ValueError("Only tensors of numbers are served.")
    return [Column(f"x{number}") for number in range(shape[1])]


def _rows_of(shape: Any, name: str) -> int:
    if not isinstance(shape, list) or not shape or type(shape[0]) is not int or not 1 <= shape[0] <= MAX_ROWS:
        raise InvalidRequest(422, f"Input {name!r}: the shape must be [n] or [n, 1] with 1 to {MAX_ROWS} rows.")
    rows: int = shape[0]
    return rows


def output_tensor(name: str, values: NDArray[Any]) -> dict[str, Any]:
    """One output of the protocol from an array [n] or [n, m]."""
    kind = values.dtype.kind
    if kind in "fiu":
        letters = {"f": "FP", "i": "INT", "u": "UINT"}[kind]
        datatype, data = f"{letters}{values.dtype.itemsize * 8}", values.ravel().tolist()
    elif kind == "b":
        datatype, data = "BOOL", values.ravel().tolist()
    else:
        datatype, data = "BYTES", [str(value) for value in values.ravel()]
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "data": data}
