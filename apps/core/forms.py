"""Bodies of the REST API: unknown names are refused, and every refusal names the field and says what it takes."""

import json
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail
from rest_framework.request import Request

from apps.core.errors import Invalid

MOST_ERRORS = 20
SHOWN_CHARACTERS = 60
Errors = dict[str, list[str]]


def given(form: type[serializers.BaseSerializer[Any]], request: Request, **options: Any) -> dict[str, Any]:
    """The validated body; raises Invalid naming each field that is wrong, with what it takes."""
    filled = form(data=request.data, **options)
    if not filled.is_valid():
        raise refusal(explain(filled, filled.errors, request.data))
    return filled.validated_data


def check_names(form: type[serializers.BaseSerializer[Any]] | None, data: Any) -> None:
    """Raise Invalid when the body holds a field that the form does not have, at any depth; without a form any field is one too many."""
    if form is None:
        if data:
            name = next(iter(data)) if isinstance(data, Mapping) else "body"
            raise Invalid(
                f"{name}: this operation takes no body. Leave it out.", errors={str(name)[:100]: ["This operation takes no body."]}
            )
        return
    filled = form()
    if not isinstance(data, Mapping):
        raise Invalid(f"body: give {takes(filled)}.", errors={"body": [f"Give {takes(filled)}."]})
    if errors := unknown_names(filled, data):
        raise refusal(errors)


def unknown_names(form: Any, data: Any, path: str = "") -> Errors:
    """`field.sub[0]` -> sentence for every name the form does not take."""
    found: Errors = {}
    if isinstance(form, serializers.ListSerializer):
        for index, row in enumerate(data if isinstance(data, list) else []):
            found |= unknown_names(form.child, row, f"{path}[{index}]")
            if len(found) >= MOST_ERRORS:
                break
    elif isinstance(form, serializers.Serializer) and isinstance(data, Mapping):
        fields = form.fields
        for name, value in data.items():
            where = f"{path}.{name}".strip(".")[:200]
            if name not in fields:
                found[where] = [f"Not a field here. Known: {', '.join(writable(form))}."]
            elif fields[name].read_only:
                found[where] = ["The portal sets it. Leave it out."]
            else:
                found |= unknown_names(fields[name], value, where)
    return found


def refusal(errors: Errors) -> Invalid:
    """One Invalid for all of them; its sentence holds the first three."""
    said = [f"{where}: {sentences[0][:1].lower()}{sentences[0][1:]}" for where, sentences in list(errors.items())[:3]]
    return Invalid(" ".join(said), errors=dict(list(errors.items())[:MOST_ERRORS]))


def explain(field: Any, detail: Any, data: Any, path: str = "") -> Errors:
    """The framework's tree of errors as `field.sub[0]` -> sentences in our words."""
    if isinstance(detail, Mapping):
        out: Errors = {}
        for key, value in detail.items():
            if key == "non_field_errors":
                out |= explain(field, value, data, path)
            else:
                nested = isinstance(key, int)
                out |= explain(_child(field, key), value, _part(data, key), f"{path}[{key}]" if nested else f"{path}.{key}".strip("."))
        return out
    items = detail if isinstance(detail, list) else [detail]
    if any(isinstance(i, Mapping) for i in items):
        return {
            k: v for i, row in enumerate(items) if row for k, v in explain(_child(field, i), row, _part(data, i), f"{path}[{i}]").items()
        }
    return {path or "body": [sentence(field, item, data) for item in items]}


def _child(field: Any, key: Any) -> Any:
    if isinstance(field, serializers.Serializer):
        return field.fields.get(key)
    return getattr(field, "child", None)


def _part(data: Any, key: Any) -> Any:
    if isinstance(data, Mapping):
        return data.get(key)
    return data[key] if isinstance(data, list) and isinstance(key, int) and key < len(data) else None


def sentence(field: Any, error: Any, value: Any) -> str:
    """One error in words: what is wrong, and what the field takes. Sentences of our own pass as they are."""
    code = error.code if isinstance(error, ErrorDetail) else "said"
    if code == "said" or field is None:
        return str(error)
    if code == "required":
        return f"Needed. Give {takes(field)}."
    if code in ("blank", "null", "empty"):
        return f"It is empty. Give {takes(field)}."
    if code in ("max_length", "max_string_length") and isinstance(value, str | list):
        return f"{len(value):,} {'characters' if isinstance(value, str) else 'items'} are too many. Give {takes(field)}."
    if code == "unique":
        return "Taken already. Choose another."
    if code == "does_not_exist":
        return f"There is none for {shown(field, value)}. Give {takes(field)}."
    return f"{shown(field, value)} does not fit. Give {takes(field)}."


def shown(field: Any, value: Any) -> str:
    """What was sent, cut short; never a secret."""
    if field.write_only:
        return "What was sent"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def writable(form: serializers.Serializer[Any]) -> list[str]:
    """Names that a body may hold."""
    return [name for name, field in form.fields.items() if not field.read_only]


def takes(field: Any) -> str:
    """What a field takes, after `Give`."""
    text = _takes(field)
    return f"{text} ({field.help_text})" if getattr(field, "help_text", None) else text


def _takes(field: Any) -> str:
    if said := getattr(field, "takes", ""):
        return str(said)
    if isinstance(field, serializers.ListSerializer | serializers.ListField):
        return "a list" if field.child is None else f"a list, each item {_takes(field.child)}"
    if isinstance(field, serializers.Serializer):
        return f"a JSON object with {', '.join(writable(field))}"
    if isinstance(field, serializers.ChoiceField):
        return f"one of {', '.join(str(c) for c in field.choices)}"
    for kind, words in _KINDS:
        if isinstance(field, kind):
            return words + _bounds(field)
    return "a JSON value" + _bounds(field)


_KINDS: tuple[tuple[type, str], ...] = (
    (serializers.EmailField, "an address like name@example.org"),
    (serializers.SlugField, "letters, digits, hyphens and underscores"),
    (serializers.UUIDField, "an id such as 0190f3c2-7b1e-7c3a-9d54-2f6b8a1c0e77"),
    (serializers.CharField, "a text"),
    (serializers.BooleanField, "true or false"),
    (serializers.IntegerField, "a whole number"),
    (serializers.FloatField, "a number"),
    (serializers.DecimalField, "a number"),
    (serializers.DateTimeField, "a moment such as 2026-11-01T00:00:00Z"),
    (serializers.DateField, "a day such as 2026-11-01"),
    (serializers.DictField, "a JSON object"),
)


def _bounds(field: Any) -> str:
    low, high = getattr(field, "min_value", None), getattr(field, "max_value", None)
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    if low is not None:
        return f" of {low:g} or more"
    if high is not None:
        return f" of {high:g} or less"
    length = getattr(field, "max_length", None)
    return f" of at most {length:,} characters" if length and isinstance(field, serializers.CharField) else ""
