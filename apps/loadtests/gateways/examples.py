"""The rows a model's author logged with it, read from its artifact."""

import json
from typing import Any

from apps.core.canonical import sha256_hex
from apps.core.errors import UpstreamFailed
from apps.loadtests import rules
from apps.registry.gateways import artifacts
from apps.registry.models import ModelVersion

FILES = ("serving_input_example.json", "input_example.json")
MAX_BYTES = 2 * 1024 * 1024


def input_example(version: ModelVersion) -> list[dict[str, Any]]:
    """Named rows of the version's input example, checked against its digest; [] when it has none. Raises UpstreamFailed."""
    known = version.artifact_manifest.get("files", {})
    for name in FILES:
        if name not in known:
            continue
        text = artifacts.read_text(version.artifact_root, name, most_bytes=MAX_BYTES)
        if sha256_hex(text) != known[name]:
            raise UpstreamFailed(f"{name} of {version.label} is not the file that was registered. Ask for a fresh reading of the version.")
        try:
            rows = rules.rows_of_example(json.loads(text))
        except ValueError:
            continue
        if rows:
            return rows
    return []
