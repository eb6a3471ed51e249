"""A policy's body from its text: complete and checked, or a refusal that names field and line."""

from collections.abc import Iterable, Mapping
from typing import Any

from apps.approvals.policy_rules import schema
from apps.approvals.policy_rules.lines import Lines, load
from apps.core.actor import Function
from apps.core.canonical import digest_of
from apps.core.errors import Invalid
from apps.core.evidence import Check


def read(text: str, checks: Mapping[str, Check]) -> dict[str, Any]:
    """The body of a policy from YAML; raises Invalid naming field and line. `checks` are those the portal offers.

    Optional fields that say what holds anyway are left out, so that one policy has one digest.
    """
    body, lines = load(text)
    if not isinstance(body, dict):
        raise Invalid("text: a policy is a mapping of fields.", errors={"text": ["Not a mapping."]}, line=1)
    return _Reader(body, lines, checks).read()


def check_staffed(text: str, body: Mapping[str, Any], holders: Mapping[str, Iterable[str]]) -> None:
    """That the quorum can be met by who there is: function -> email addresses of those who sign for it now. Raises Invalid with the line.

    Apart from `read`: a policy stays sound when people leave.
    """
    _, lines = load(text)
    for function, (needed, lacking) in short_of(body, holders).items():
        there = len(set(holders.get(function, ())))
        if lacking:
            raise lines.wrong(
                f"quorum.{function}",
                f"not an approver for {function}: {', '.join(lacking)}. An administrator gives the role, under People; or name others.",
            )
        raise lines.wrong(
            f"quorum.{function}", f"this takes {needed} people who sign for {function}, and there {'is' if there == 1 else 'are'} {there}. "
            "An administrator gives the role, under People; or ask for fewer.",
        )  # fmt: skip


def short_of(body: Mapping[str, Any], holders: Mapping[str, Iterable[str]]) -> dict[str, tuple[int, list[str]]]:
    """Function -> (people it takes, people named that do not hold it), for each that cannot be met by who there is."""
    out: dict[str, tuple[int, list[str]]] = {}
    for function, count in body["quorum"].items():
        there, pool = set(holders.get(function, ())), body.get("pools", {}).get(function, {})
        lacking = sorted(set(pool.get("people", ())) - there)
        needed = max(count, pool.get("of", 0))
        if lacking or len(there) < needed:
            out[function] = (needed, lacking)
    return out


def digest(body: Mapping[str, Any]) -> str:
    """Digest of a policy's body."""
    return digest_of(dict(body))


class _Reader:
    def __init__(self, body: Mapping[Any, Any], lines: Lines, checks: Mapping[str, Check]) -> None:
        self.body, self.lines, self.known = body, lines, checks
        self.wrong = lines.wrong

    def read(self) -> dict[str, Any]:
        self._only(self.body, schema.FIELDS, "")
        found: dict[str, Any] = {
            "name": self._text(self.body, "name", 100),
            "version": self._whole(self.body, "version", 1, 1_000_000),
            "gate": self._choice(self.body, "gate", schema.GATES),
            "tier": self._choice(self.body, "tier", schema.TIERS),
            "question": self._text(self.body, "question", 300),
            "valid_days": self._whole(self.body, "valid_days", 1, 1096),
            "due_days": self._whole(self.body, "due_days", 1, 365),
        }
        found["quorum"], pools = self._quorum()
        found |= {"checks": self._checks(), "attestations": self._items()}
        more: dict[str, Any] = {
            "pools": pools,
            "four_eyes": self._four_eyes(),
            "e_signature": self._yes_no(self.body, "e_signature", True),
            "overdue": self._overdue(),
            "waiver_days": self._whole(self.body, "waiver_days", 1, schema.MOST_WAIVER_DAYS, schema.DEFAULTS["waiver_days"]),
        }
        return found | {name: value for name, value in more.items() if value != schema.DEFAULTS[name]}

    # --- small values ---------------------------------------------------------------------------------

    def _only(self, row: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
        for name in row:
            if name not in known:
                raise self.wrong(f"{where}.{name}".strip("."), f"unknown field. Known: {', '.join(sorted(known))}.")

    def _text(self, row: Mapping[str, Any], name: str, limit: int, where: str = "") -> str:
        value = row.get(name)
        if not isinstance(value, str) or not value.strip() or len(value) > limit or "\x00" in value:
            raise self.wrong(f"{where}.{name}".strip("."), f"give text of at most {limit} characters.")
        return value.strip()

    def _whole(self, row: Mapping[str, Any], name: str, low: int, high: int, default: int | None = None, where: str = "") -> int:
        value = row.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(f"{where}.{name}".strip("."), f"give a whole number from {low} to {high}.")
        return value

    def _choice(self, row: Mapping[str, Any], name: str, known: tuple[str, ...], where: str = "") -> str:
        value = row.get(name)
        if not isinstance(value, str) or value not in known:
            raise self.wrong(f"{where}.{name}".strip("."), f"choose one of {', '.join(known)}.")
        return str(value)

    def _yes_no(self, row: Mapping[str, Any], name: str, default: bool, where: str = "") -> bool:
        value = row.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(f"{where}.{name}".strip("."), "give true or false.")
        return value

    def _mapping(self, name: str, remedy: str) -> Mapping[str, Any]:
        value = self.body.get(name, {})
        if not isinstance(value, dict):
            raise self.wrong(name, remedy)
        return value

    # --- who signs, and what happens when they are late ---------------------------------------------------

    def _quorum(self) -> tuple[dict[str, int], dict[str, dict[str, Any]]]:
        """Function -> how many of it must sign; and function -> the pool they are of, where the policy names one."""
        value = self.body.get("quorum")
        if not isinstance(value, dict) or not value:
            raise self.wrong("quorum", "name at least one function and how many of it sign, such as `risk: 1` or `risk: {sign: 2, of: 3}`.")
        needed: dict[str, int] = {}
        pools: dict[str, dict[str, Any]] = {}
        for function, given in value.items():
            where = f"quorum.{function}"
            if function not in set(Function):
                raise self.wrong(where, f"unknown function. Known: {', '.join(Function)}.")
            if isinstance(given, dict):
                needed[function], pools[function] = self._pool(given, where)
            elif isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= 20:
                raise self.wrong(where, "give a whole number from 1 to 20, or `sign` with `of` or `people`.")
            else:
                needed[function] = given
        return {f.value: needed[f] for f in Function if f in needed}, {f.value: pools[f] for f in Function if f in pools}

    def _pool(self, given: Mapping[str, Any], where: str) -> tuple[int, dict[str, Any]]:
        """`sign` so many `of` so many, or of these `people`."""
        self._only(given, ("sign", "of", "people"), where)
        sign = self._whole(given, "sign", 1, 20, where=where)
        if ("of" in given) == ("people" in given):
            raise self.wrong(where, "give either `of` (how many there are to ask) or `people` (their email addresses).")
        if "of" in given:
            of = self._whole(given, "of", 1, 100, where=where)
            if of < sign:
                raise self.wrong(f"{where}.of", f"{sign} of {of} can never sign. Ask for fewer, or for more people to choose from.")
            return sign, {"of": of}
        people = given["people"]
        if not isinstance(people, list) or not all(isinstance(p, str) and "@" in p and len(p) <= 254 for p in people):
            raise self.wrong(f"{where}.people", "give a list of email addresses.")
        named = sorted({p.strip().lower() for p in people})
        if len(named) != len(people):
            raise self.wrong(f"{where}.people", "somebody is there twice. Keep one.")
        if len(named) < sign:
            raise self.wrong(f"{where}.people", f"{sign} of {len(named)} can never sign. Ask for fewer, or name more people.")
        return sign, {"people": named}

    def _four_eyes(self) -> dict[str, bool]:
        given = self._mapping("four_eyes", "give `requester` and `authors`, each true or false.")
        self._only(given, ("requester", "authors"), "four_eyes")
        return {name: self._yes_no(given, name, True, "four_eyes") for name in ("requester", "authors")}

    def _overdue(self) -> dict[str, Any]:
        given = self._mapping("overdue", "give `do`, and if needed `to` and `every_days`.")
        self._only(given, ("do", "to", "every_days"), "overdue")
        do = self._choice({"do": "remind", **given}, "do", schema.OVERDUE_WAYS, "overdue")
        found: dict[str, Any] = {"do": do, "every_days": self._whole(given, "every_days", 1, 90, 7, "overdue")}
        if do == "escalate":
            if given.get("to") not in set(Function):
                raise self.wrong("overdue.to", f"name the function that is told as well: {', '.join(Function)}.")
            found["to"] = str(given["to"])
        elif "to" in given:
            raise self.wrong("overdue.to", "only `do: escalate` names a function. Leave it out.")
        return found

    # --- what is asked for ----------------------------------------------------------------------------

    def _rows(self, name: str) -> list[Any]:
        rows = self.body.get(name, [])
        if not isinstance(rows, list):
            raise self.wrong(name, "give a list.")
        if len(rows) > 200:
            raise self.wrong(name, "give at most 200.")
        return rows

    def _more(self, row: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Heading and whether it can be waived, where the policy says so."""
        more: dict[str, Any] = {}
        if row.get("heading") is not None:
            more["heading"] = self._text(row, "heading", 100, where)
        if not self._yes_no(row, "waivable", True, where):
            more["waivable"] = False
        return more

    def _checks(self) -> list[dict[str, Any]]:
        rows = self._rows("checks")
        if not rows and self.body.get("gate") in schema.NEEDS_CHECKS:
            raise self.wrong("checks", "a gate that lets a model run does not pass on attestations alone. Name computed checks.")
        out: list[dict[str, Any]] = []
        for index, row in enumerate(rows):
            where = f"checks[{index}]"
            if not isinstance(row, dict) or not isinstance(row.get("check"), str):
                raise self.wrong(where, "give `check`, and if needed `with`, `title`, `heading`, `owner` and `waivable`.")
            self._only(row, schema.CHECK_FIELDS, where)
            clean = self._check(row, where)
            if any(o["check"] == clean["check"] and o["with"] == clean["with"] for o in out):
                raise self.wrong(where, f"{clean['check']} is asked twice with the same parameters.")
            out.append(clean)
        return out

    def _check(self, row: Mapping[str, Any], where: str) -> dict[str, Any]:
        name, parameters = row["check"], row.get("with") or {}
        if not isinstance(parameters, dict):
            raise self.wrong(f"{where}.with", "give parameters as a mapping.")
        check = self.known.get(name)
        if check is None:
            raise self.wrong(f"{where}.check", f"there is no check {name!r}. Known: {', '.join(sorted(self.known))}.")
        try:
            parameters = check.settings(parameters)
        except Invalid as error:
            first = next(iter(error.errors), "")
            line = self.lines.line(f"{where}.with.{first}" if first else f"{where}.with")
            raise Invalid(f"{where}.with (line {line}): {error.detail}", errors={f"{where}.with": [error.detail]}, line=line) from error
        title = self._text(row, "title", 300, where) if row.get("title") is not None else check.title
        owner = {"owner": self._choice(row, "owner", schema.ITEM_OWNERS, where)} if row.get("owner") is not None else {}
        return {"check": name, "with": parameters, "title": title, **owner, **self._more(row, where)}

    def _items(self) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        names = {str(r.get("check")) for r in self._rows("checks") if isinstance(r, dict)}
        for index, row in enumerate(self._rows("attestations")):
            where = f"attestations[{index}]"
            if not isinstance(row, dict) or not {"item", "text", "owner"} <= set(row):
                raise self.wrong(where, "give `item`, `text` and `owner`.")
            self._only(row, schema.ITEM_FIELDS, where)
            clean = {
                "item": self._text(row, "item", 100, where), "text": self._text(row, "text", 1_000, where),
                "owner": self._choice(row, "owner", schema.ITEM_OWNERS, where), **self._more(row, where),
            }  # fmt: skip
            if any(o["item"] == clean["item"] for o in out) or clean["item"] in names:
                raise self.wrong(f"{where}.item", f"{clean['item']!r} is there twice.")
            out.append(clean)
        return out
