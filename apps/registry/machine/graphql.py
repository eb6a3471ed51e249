"""The two GraphQL queries without which MLflow's own pages show no run: an experiment, and a run. Everything else is refused.

The document is parsed, its one field and what it asks about are read from it, and it goes on as printed from what was parsed.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse
from graphql import DocumentNode, FieldNode, GraphQLError, OperationDefinitionNode, OperationType, VariableNode, parse, print_ast
from graphql.language import BREAK, Visitor, visit

from apps.core.errors import Invalid, NotAllowed
from apps.registry.gateways import forward
from apps.registry.machine import answers, guard
from apps.registry.machine import body as bodies
from apps.registry.machine import sent as sents

# Field -> what it is about, and how its input names that.
KNOWN = {
    "mlflowGetExperiment": ("experiment", {"experimentId": "experiment_id"}),
    "mlflowGetRun": ("run", {"runId": "run_id", "runUuid": "run_id"}),
}
REFUSED = "Of GraphQL only what MLflow's own pages ask about one experiment or one run is open through Gatehouse. Use the REST addresses."
MOST_TOKENS = 2_000


def serve(request: HttpRequest, seen: guard.Sight) -> HttpResponse:
    """Answer a query. Raises Invalid, NotAllowed, NotFound."""
    said = bodies.json_object(request)
    text = said.get("query")
    if not isinstance(text, str) or set(said) - {"query", "variables", "operationName", "extensions"}:
        raise Invalid("query: give a GraphQL document, with variables.")
    try:
        document = parse(text, no_location=True, max_tokens=MOST_TOKENS)
    except (GraphQLError, RecursionError) as error:
        raise Invalid("query: it is no GraphQL document.") from error
    field, variable = _one_field(document)
    obj, names = KNOWN[field]
    given = said.get("variables")
    given = given.get(variable) if isinstance(given, dict) else None
    if not isinstance(given, dict) or set(given) - set(names):
        raise NotAllowed(REFUSED)
    ids = {names[name]: sents.shape(names[name], value) for name, value in given.items() if value not in (None, "")}
    if len(ids) != 1 or len({str(v) for v in given.values() if v}) != 1:
        raise Invalid(f"{variable}: name one {obj}.")
    guard.check_read(seen, obj, ids)
    plain = {next(n for n, known in names.items() if known == key): value for key, value in ids.items()}
    content = bodies.rewritten({"query": print_ast(document), "variables": {variable: plain}})
    headers = answers.headers(request) | {"Content-Type": "application/json"}
    with forward.send("POST", "/graphql", headers=headers, content=content) as answer:
        answers.not_redirect(answer)
        data = answer.read(answers.MOST_ANSWER_BYTES)
    if answer.status != 200 or seen.everything:
        return answers.whole(answer, data)
    return answers.made(_without_hidden_models(answers.parsed(data), seen))


def _one_field(document: DocumentNode) -> tuple[str, str]:
    """(field, name of the variable that is its input) of a document with one query of one known field, and no renaming anywhere."""
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    if len(operations) != 1 or operations[0].operation != OperationType.QUERY or _renames(document):
        raise NotAllowed(REFUSED)
    chosen = operations[0].selection_set.selections
    only = chosen[0] if len(chosen) == 1 else None
    if not isinstance(only, FieldNode) or only.name.value not in KNOWN or only.directives:
        raise NotAllowed(REFUSED)
    if len(only.arguments) != 1 or only.arguments[0].name.value != "input" or not isinstance(only.arguments[0].value, VariableNode):
        raise NotAllowed(REFUSED)
    variable = only.arguments[0].value.name.value
    if any(d.default_value is not None for d in operations[0].variable_definitions):
        raise NotAllowed(REFUSED)
    return only.name.value, variable


def _renames(document: DocumentNode) -> bool:
    """Whether any field has an alias: the answer's names have to be the schema's."""

    class Look(Visitor):
        found = False

        def enter_field(self, node: FieldNode, *_: Any) -> Any:
            if node.alias is not None:
                self.found = True
                return BREAK
            return None

    look = Look()
    visit(document, look)
    return look.found


def _without_hidden_models(said: dict[str, Any], seen: guard.Sight) -> dict[str, Any]:
    """The answer without versions of models that the caller may not see."""
    run = ((said.get("data") or {}).get("mlflowGetRun") or {}).get("run")
    if isinstance(run, dict) and run.get("modelVersions"):
        names = seen.models({str(v.get("name")) for v in run["modelVersions"]})
        run["modelVersions"] = [v for v in run["modelVersions"] if str(v.get("name", "")) in names and v.get("name")]
    return said
