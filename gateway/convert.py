"""The converter: turns sealed spool files into Parquet. Run by the gateway as `python -m gateway.convert`.

Doing a file twice does no harm: its rows always go to the same file names and replace themselves, and the
spool file is removed only when all of them are on disk. So a kill at any point neither loses nor doubles.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
import signal
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway import logs

log = logging.getLogger("gateway.convert")

SCHEMA = pa.schema(
    [
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("endpoint_id", pa.string(), nullable=False),
        pa.field("deployment_id", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("shadow", pa.bool_(), nullable=False),
        pa.field("received_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("latency_ms", pa.float64(), nullable=False),
        pa.field("status", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("features", pa.string(), nullable=False),
        pa.field("prediction", pa.string()),
        pa.field("probability", pa.float64()),
        pa.field("client_id", pa.string()),
    ]
)

_SEALED = ".jsonl"
_REJECTED = ".rejected"
_LOOK_AGAIN_S = 5.0

Row = dict[str, Any]


# --- a line's rows --------------------------------------------------------------------------------


def _as_json(value: Any) -> str:
    """Strict JSON text: numbers that JSON cannot hold become null, as a missing value would be."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def rows_of_tensor(tensor: dict[str, Any]) -> list[Any]:
    """One value per row of an Open Inference tensor: a scalar for shape [n] and [n, 1], else a flat list.

    Raises ValueError when the data does not have as many elements as the shape says.
    """
    shape, data = tensor["shape"], list(_flat(tensor["data"]))
    count = shape[0]
    width = 1
    for size in shape[1:]:
        width *= size
    if len(data) != count * width:
        raise ValueError("data and shape disagree")
    if width == 1:
        return data
    return [data[start : start + width] for start in range(0, len(data), width)]


def features_of(inputs: list[dict[str, Any]], names: list[str] | None) -> list[dict[str, Any]]:
    """One mapping of column name to value per input row.

    One tensor of shape [n, k] is spread over `names` when there are k of them, else over `name[0]`, ...
    Raises ValueError, KeyError, TypeError or IndexError when the tensors do not fit together.
    """
    if len(inputs) == 1 and len(inputs[0]["shape"]) == 2 and (inputs[0]["shape"][1] > 1 or names):
        tensor = inputs[0]
        width = tensor["shape"][1]
        if names is not None and len(names) == width:
            columns = names
        elif width == 1:
            columns = [tensor["name"]]
        else:
            columns = [f"{tensor['name']}[{index}]" for index in range(width)]
        values = rows_of_tensor(tensor)
        if width == 1:
            values = [[value] for value in values]
        return [dict(zip(columns, row, strict=True)) for row in values]
    by_name = {tensor["name"]: rows_of_tensor(tensor) for tensor in inputs}
    return [dict(zip(by_name, row, strict=True)) for row in zip(*by_name.values(), strict=True)]


def _outputs(answer: dict[str, Any]) -> tuple[list[Any], list[float | None]]:
    """Predictions and probabilities per row; the first output stands in for one called `prediction`."""
    tensors = {tensor["name"]: tensor for tensor in answer["outputs"]}
    predictions = rows_of_tensor(tensors.get("prediction") or answer["outputs"][0])
    probabilities: list[float | None] = [None] * len(predictions)
    if "probability" in tensors:
        found = rows_of_tensor(tensors["probability"])
        if len(found) == len(predictions):
            probabilities = [float(v) if isinstance(v, int | float) else None for v in found]
    return predictions, probabilities


_UNREADABLE = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)


def rows_of_line(line: dict[str, Any]) -> list[Row]:
    """The capture rows of one request: one per input row, or a single one if its tensors disagree.

    Raises KeyError, ValueError or TypeError only when the gateway's own part of the line is damaged.
    """
    meta = line["m"]
    common: Row = {
        "request_id": meta["request_id"],
        "endpoint_id": str(uuid.UUID(meta["endpoint_id"])),
        "deployment_id": meta["deployment_id"],
        "model_version": meta["model_version"],
        "shadow": bool(meta["shadow"]),
        "received_at": int(meta["received_at_us"]),
        "latency_ms": float(meta["latency_ms"]),
        "status": int(meta["status"]),
        "client_id": meta.get("client_id"),
    }
    predictions: list[Any] = []
    probabilities: list[float | None] = []
    if line.get("a") is not None:
        try:
            predictions, probabilities = _outputs(line["a"])
        except _UNREADABLE:
            predictions, probabilities = [], []
    try:
        features = features_of(line["q"]["inputs"], meta.get("feature_names"))
    except _UNREADABLE:
        features = []
    features = features or [{}] * max(1, len(predictions))
    answered = len(predictions) == len(features)
    return [
        common
        | {
            "row": index,
            "features": _as_json(row),
            "prediction": _as_json(predictions[index]) if answered else None,
            "probability": probabilities[index] if answered else None,
        }
        for index, row in enumerate(features)
    ]


# --- a file ---------------------------------------------------------------------------------------


def convert_file(spool_file: Path, capture_dir: Path) -> int:
    """Write the rows of one sealed spool file as Parquet, then remove it; returns how many rows.

    A last line without newline was cut by a kill before its answer left and is dropped. A line that cannot be
    read goes to `<name>.rejected` beside the spool file, so that it neither blocks the rest nor vanishes.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    rejected: list[bytes] = []
    *lines, torn = spool_file.read_bytes().split(b"\n")
    for text in lines:
        try:
            rows = rows_of_line(json.loads(text))
        except _UNREADABLE:
            rejected.append(text)
            continue
        day = datetime.fromtimestamp(rows[0]["received_at"] / 1e6, UTC).date().isoformat()
        groups.setdefault((rows[0]["endpoint_id"], day), []).extend(rows)
    if torn:
        logs.event(log, logging.WARNING, "a half-written line was dropped", file=spool_file.name)
    if rejected:
        logs.event(log, logging.ERROR, "lines were not readable", file=spool_file.name, lines=len(rejected))
        _write_whole(spool_file.with_suffix(_REJECTED), b"\n".join(rejected) + b"\n")
    for (endpoint_id, day), rows in groups.items():
        _write_parquet(capture_dir / endpoint_id / f"dt={day}", spool_file.stem, rows)
    spool_file.unlink()
    return sum(len(rows) for rows in groups.values())


def _write_parquet(folder: Path, name: str, rows: list[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    # Readers skip names that begin with a dot, so nobody sees the file before it is whole.
    temporary = folder / f".{name}.tmp"
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    with temporary.open("wb") as stream:
        pq.write_table(table, stream, compression="zstd")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(folder / f"{name}.parquet")
    for changed in (folder, folder.parent, folder.parent.parent):
        _sync_folder(changed)


def _write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- the process ----------------------------------------------------------------------------------


def convert_all(spool_dir: Path, capture_dir: Path) -> None:
    """Convert every sealed file there is, oldest first. A file that fails stays for the next round."""
    for path in sorted(spool_dir.glob(f"*{_SEALED}"), key=lambda item: item.stat().st_mtime):
        try:
            convert_file(path, capture_dir)
        except Exception as error:  # noqa: BLE001
            # Whatever is wrong with this file must not keep the others waiting.
            why = f"{type(error).__name__}: {error}"
            logs.event(log, logging.ERROR, "a spool file was not converted", file=path.name, why=why)


def main(arguments: list[str]) -> int:
    """Convert until standard input ends: that is how the gateway's end, even a hard one, is noticed."""
    spool_dir, capture_dir = map(Path, arguments)
    logs.configure()
    # The gateway decides when to end; a Ctrl-C meant for the whole group must not stop the last round.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.umask(0o027)
    os.nice(10)
    pa.set_cpu_count(1)
    lock = os.open(spool_dir / ".converter.lock", os.O_RDWR | os.O_CREAT, 0o600)
    # Waits for the converter of a gateway that was killed a moment ago to finish its last round.
    fcntl.flock(lock, fcntl.LOCK_EX)
    while True:
        convert_all(spool_dir, capture_dir)
        if select.select([0], [], [], _LOOK_AGAIN_S)[0] and not os.read(0, 65_536):
            convert_all(spool_dir, capture_dir)
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
