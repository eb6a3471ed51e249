"""The OpenAPI schema says of every operation what it does, takes, answers and refuses."""

import re

from django.core.management import call_command

PROBLEM = {"$ref": "#/components/schemas/Problem"}


def test_it_is_valid_and_without_a_warning(tmp_path):
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yaml"))


def test_every_operation_has_one_sentence_of_its_own_and_its_noun(ops):
    seen = {}
    for op in ops:
        said = op.said.get("summary", "")
        assert re.fullmatch(r"[A-Z][^\n]{10,110}\.", said) and ". " not in said, (op.name, said)
        assert seen.setdefault(said, op.name) == op.name, (op.name, said, seen[said])
        assert op.said["tags"] == [op.address.split("/")[3]], op.name
    assert len(ops) > 80


def test_every_refusal_is_a_problem_and_those_everybody_meets_are_said(ops):
    for op in ops:
        answers = op.said["responses"]
        assert {"400", "401", "403"} <= set(answers), op.name
        assert ("{" in op.said.get("path", "")) <= ("404" in answers)
        for status, answer in answers.items():
            problem = answer.get("content", {}).get("application/problem+json")
            assert (problem is not None) == (int(status) >= 400), (op.name, status)
            if problem is not None:
                assert problem["schema"] == PROBLEM and answer["description"]
        assert any(status < "300" for status in answers), op.name


def test_an_address_that_names_a_thing_may_be_a_404(ops):
    for op in ops:
        if any(p["in"] == "path" for p in op.said.get("parameters", [])):
            assert "404" in op.said["responses"], op.name


def test_posts_that_start_work_say_that_they_honour_the_key_and_no_others_do(ops):
    for op in ops:
        headers = [p["name"] for p in op.said.get("parameters", []) if p["in"] == "header"]
        honoured = getattr(op.function, "is_idempotent", False)
        assert headers == (["Idempotency-Key"] if honoured else []), op.name
        if honoured:
            assert "409" in op.said["responses"], op.name
    assert sum(getattr(op.function, "is_idempotent", False) for op in ops) > 10


def test_every_query_parameter_is_explained(ops):
    for op in ops:
        for parameter in op.said.get("parameters", []):
            if parameter["in"] == "query":
                assert parameter.get("description"), (op.name, parameter["name"])
