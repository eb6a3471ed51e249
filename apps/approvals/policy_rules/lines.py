"""YAML with the line of every field, so that a refusal can point at it."""

from typing import Any

import yaml

from apps.core.errors import Invalid


class Lines:
    """Where each field of a text stands: `checks[0].with` -> 12."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def line(self, where: str) -> int | None:
        """The line of a field; of what it would stand in when it is not there."""
        while where:
            if where in self.of:
                return self.of[where]
            cut = max(where.rfind("."), where.rfind("["))
            where = where[:cut] if cut > 0 else ""
        return self.of.get("")

    def wrong(self, where: str, words: str) -> Invalid:
        """A refusal that names the field and, where there is a text, its line."""
        line = self.line(where)
        place = f"{where} (line {line})" if line else where
        more: dict[str, Any] = {"line": line} if line else {}
        return Invalid(f"{place}: {words}", errors={where: [words]}, **more)


def load(text: str) -> tuple[Any, Lines]:
    """The value and its lines; raises Invalid naming the line for text that is not plain YAML."""
    lines = Lines()
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None, lines
        _walk(node, "", lines, set())
        return loader.construct_document(node), lines
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        words = f"this is not YAML: {getattr(error, 'problem', None) or 'unreadable'}."
        raise Invalid(f"line {line}: {words}", errors={f"line {line}": [words]}, line=line) from error
    except (RecursionError, ValueError) as error:
        raise Invalid("text: this is not YAML that can be read: it is nested too deeply or holds a value that is none.",
                      errors={"text": ["Not readable."]}) from error  # fmt: skip
    finally:
        loader.dispose()


def _walk(node: Any, where: str, lines: Lines, seen: set[int]) -> None:
    if id(node) in seen:
        line = node.start_mark.line + 1
        raise Invalid(f"line {line}: write it out. Anchors and aliases are not taken.", errors={f"line {line}": ["An alias."]}, line=line)
    seen.add(id(node))
    lines.of.setdefault(where, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        names = set()
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            path = f"{where}.{name}".strip(".")
            line = key.start_mark.line + 1
            if name in names:
                raise Invalid(f"{path} (line {line}): it is there twice. Keep one.", errors={path: ["There twice."]}, line=line)
            names.add(name)
            lines.of[path] = line
            _walk(value, path, lines, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            _walk(child, f"{where}[{index}]", lines, seen)
