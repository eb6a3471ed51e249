"""What a line of the list says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

READ, WRITE = "read", "write"
WRITTEN = "registry.mlflow.written"

# What a path may name. MLflow's own ids are narrower; a name of a tag may be anything that is one segment.
PARTS = {
    "model_id": r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}",
    "trace_id": r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,249}",
    "assessment_id": r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}",
    "issue_id": r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}",
    "dataset_id": r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}",
    "tag_key": r"[^/]{1,250}",
    "path": r".+",
}
# How the trail names what it calls by another word.
TRAIL_NAMES = {"model": "registeredmodel", "version": "modelversion"}


@dataclass(frozen=True, slots=True)
class Route:
    """One admitted method and path.

    verb and obj: what `services.check_access` is asked. keys: the fields that name the object, the first of them needed; a field
    may be written `its_name=key`. policy, how the answer comes about:

    - `pass`: checked by its keys, then passed on;
    - `answer`: only the answer tells which experiment it belongs to (`experiments` in locate.py), so it is checked before it is shown;
    - `narrow`: the experiments asked for are narrowed to those the caller may see;
    - `page`: what the caller may not see is left out of a search over everything, with pages of our own;
    - `each`: the request names several things, and each is checked;
    - `ours`: the portal answers itself.

    served: `both` prefixes, only `ajax`, or `plain` (no prefix at all). special: what the portal itself does about it. trail: what the
    trail calls the object of a write that makes it.
    """

    method: str
    pattern: str
    verb: str = "read"
    obj: str = "none"
    keys: tuple[str, ...] = ()
    policy: str = "pass"
    special: str = ""
    served: str = "both"
    trail: str = ""
    regex: re.Pattern[str] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if "{" in self.pattern:
            text = re.escape(self.pattern)
            for part, shape in PARTS.items():
                text = text.replace(rf"\{{{part}\}}", f"(?P<{part}>{shape})")
            object.__setattr__(self, "regex", re.compile(text, re.DOTALL))

    @property
    def kind(self) -> str:
        """READ or WRITE."""
        return READ if self.verb == "read" else WRITE

    @property
    def name(self) -> str:
        """How the trail names it."""
        return f"{self.method} {self.pattern}"

    @property
    def action(self) -> str:
        """The audit action of a write, "" for a read."""
        return WRITTEN if self.kind == WRITE else ""

    @property
    def obj_type(self) -> str:
        """The object's type as the trail names it."""
        return self.trail or TRAIL_NAMES.get(self.obj, self.obj)

    def key(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What names the object, under the names that `check_access` knows."""
        out: dict[str, Any] = {}
        for each in self.keys:
            its_name, _, known_as = each.partition("=")
            if values.get(its_name) not in (None, ""):
                out[known_as or its_name] = values[its_name]
        return out

    def obj_id(self, values: Mapping[str, Any]) -> str:
        """Identifier of what is written to; `-` when the caller gave none."""
        named = self.key(values)
        return str(next(iter(named.values()), "-"))[:500]
