"""Refusals are sentences of ours: they name the field and say what it takes. The framework's own words never come through."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from rest_framework import serializers

from apps.core.errors import Invalid
from apps.core.forms import given

pytestmark = pytest.mark.django_db
FRAMEWORK = re.compile(
    r"This field|Ensure (this|that)|Enter a valid|[Nn]ot a valid|is not a valid|Must be|Object with|does not exist|"
    r"Expected a|A valid|Invalid data|__|credentials were not provided|Method \\?\"|JSON parse|Unsupported media|Not found\.$"
)
WRONG: tuple[Any, ...] = (None, "", [], {}, [[]], [{}], "x" * 300_000, "no such thing", "a\x00b", -1e40, True, {"a": {"b": 1}})


def _sentences(form: Any, data: Any) -> dict[str, list[str]]:
    try:
        given(form, SimpleNamespace(data=data))  # type: ignore[arg-type]
    except Invalid as error:
        assert not FRAMEWORK.search(error.detail), (form.__name__, error.detail)
        assert len(error.detail) < 2_000
        return error.errors
    return {}


def _check(form: Any, errors: dict[str, list[str]]) -> None:
    for where, sentences in errors.items():
        assert re.split(r"[.\[]", where)[0] in form().fields, (form.__name__, where)
        for said in sentences:
            assert not FRAMEWORK.search(said), (form.__name__, where, said)
            assert re.match(r"[A-Z\"'\d\[{\-]|(null|true|false)\b", said) and said.endswith("."), (form.__name__, where, said)
            assert re.search(r"Give |Choose ", said) and len(said) < 700, (form.__name__, where, said)


def test_every_form_of_every_write_refuses_in_our_words(ops):
    forms = {op.function.takes for op in ops if getattr(op.function, "takes", None)}
    assert len(forms) > 25
    refused = 0
    for form in sorted(forms, key=lambda f: f.__name__):
        errors = _sentences(form, {})
        _check(form, errors)
        for name, field in form().fields.items():
            if field.read_only:
                continue
            for value in WRONG:
                found = _sentences(form, {name: value})
                _check(form, found)
                refused += any(where.startswith(name) for where in found)
    assert refused > 300


def test_a_missing_field_says_what_to_give(api, make_user):
    answer = api(make_user("stakeholder")).post("/api/v1/usecases/", {"problem": "B", "risk_tier": "huge"}).json()
    assert answer["errors"]["name"] == ["Needed. Give a text of at most 200 characters."]
    assert answer["errors"]["risk_tier"][0].startswith('"huge" does not fit. Give one of minimal, limited, high')
    assert answer["detail"].startswith("name: needed. Give a text")


def test_a_person_who_is_not_there_is_named_by_what_was_sent(api, make_user):
    answer = api(make_user("stakeholder")).post(
        "/api/v1/usecases/", {"name": "A", "problem": "B", "risk_tier": "high", "owner": "nobody@example.org"}
    )
    said = answer.json()["errors"]["owner"][0]
    assert "nobody@example.org" in said and "email address of an active account" in said


def test_a_secret_is_never_given_back(api, make_user):
    answer = api(make_user("admin")).post("/api/v1/users/", {"email": "a@example.org", "full_name": "A", "password": {"x": "hunter2"}})
    assert answer.status_code == 400 and "hunter2" not in answer.content.decode()


@pytest.mark.parametrize(
    ("method", "extra", "status", "words"),
    [
        ("post", {"data": "{", "content_type": "application/json"}, 400, "not JSON"),
        ("post", {"data": "a=b", "content_type": "application/x-www-form-urlencoded"}, 415, "application/json"),
        ("put", {"data": {}}, 405, "Possible: GET, POST"),
        ("get", {"HTTP_ACCEPT": "text/html"}, 406, "application/json"),
    ],
)
def test_refusals_of_the_framework_itself_are_in_our_words_too(api, make_user, method, extra, status, words):
    answer = getattr(api(make_user("stakeholder")), method)("/api/v1/usecases/", **extra)
    assert answer.status_code == status
    assert words in answer.json()["detail"] and not FRAMEWORK.search(answer.json()["detail"])


def test_nobody_signed_in_is_told_how_to(api):
    said = api().get("/api/v1/me/").json()["detail"]
    assert "Authorization: Bearer" in said and not FRAMEWORK.search(said)


def test_a_browser_without_its_pages_token_is_told_so(make_user):
    from rest_framework.test import APIClient

    client = APIClient(enforce_csrf_checks=True)
    client.login(username=make_user("stakeholder").email, password="correct horse battery staple")
    answer = client.post("/api/v1/tokens/", {"name": "x", "scopes": ["read"]})
    assert answer.status_code == 403 and "X-CSRFToken" in answer.json()["detail"]


def test_a_sentence_of_our_own_passes_as_it_is():
    class Own(serializers.Serializer):
        name = serializers.CharField()

        def validate_name(self, value):
            raise serializers.ValidationError("Choose a name of the house.", code="said")

    with pytest.raises(Invalid) as refused:
        given(Own, SimpleNamespace(data={"name": "x"}))
    assert refused.value.errors == {"name": ["Choose a name of the house."]}
