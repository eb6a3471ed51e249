"""What somebody with every right in the database can do to a sealed trail, and what the verifier then says.

    python -m tests.verifier.attacks       prints the table that stands in docs/reference/audit-trail.md

Each attack is carried out by `test_attacks.py` as the database's superuser. The auditor keeps a copy of the public key; with a witness, what it
holds lies where the attacker does not come.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.verifier.scene import Scene

DEAD = "01900000-0000-7000-8000-00000000dead"
HASHED = "sha256('\\x00'::bytea || convert_to({}, 'UTF8'))"
FOUND = {1, 8}
# Exit codes without a witness and with one.
ALWAYS, BY_A_WITNESS, NEVER = (1, 1), (3, 1), (3, 0)


@dataclass(frozen=True)
class Attack:
    """One way to change the trail: how, what the verifier answers, and in which words."""

    what: str
    do: Callable[["Scene"], None]
    says: str = ""
    codes: tuple[int, int] = ALWAYS
    remark: str = ""
    sealer_refuses: bool = False


def sql(*statements: Callable[[Any], str] | str) -> Callable[["Scene"], None]:
    """Statements, some of them about the events that are there."""
    return lambda scene: scene.sql(*[s if isinstance(s, str) else s(scene.trail) for s in statements])


def edit(number: int) -> Callable[[Any], str]:
    """Another reason in an event's text."""
    return lambda trail: (
        f'UPDATE audit_event SET payload = replace(payload, \'"reason":"as it was"\', \'"reason":"as we like"\') WHERE id = \'{trail[number].id}\''
    )


def delete(number: int) -> Callable[[Any], str]:
    """An event's row, gone."""
    return lambda trail: f"DELETE FROM audit_event WHERE id = '{trail[number].id}'"


def no_longer_generated(column: str, value: str) -> Callable[["Scene"], None]:
    """A query column made an ordinary one, and changed."""
    return sql(
        f"ALTER TABLE audit_event ALTER COLUMN {column} DROP EXPRESSION",
        lambda trail: f"UPDATE audit_event SET {column} = {value} WHERE id = '{trail[4].id}'",
    )


def moved(first: int, last: int, by: int) -> list[str]:
    """Leaves renumbered, one by one so that no two ever have one number."""
    return [f"UPDATE audit_leaf SET leaf_index = {n + by} WHERE leaf_index = {n}" for n in range(first, last, -by)]


UNSEAL = ("DELETE FROM audit_leaf", "DELETE FROM audit_subtree", "DELETE FROM audit_checkpoint")
ATTACKS = (
    Attack("edit the text of an event", sql(edit(5)), "is not the text that was sealed"),
    Attack(
        "edit it and correct its stored hash",
        sql(edit(5), f"UPDATE audit_leaf l SET leaf_hash = {HASHED.format('e.payload')} FROM audit_event e WHERE e.id = l.event_id"),
        "do not have the root",
    ),
    Attack("add a space to it", sql(lambda t: f"UPDATE audit_event SET payload = payload || ' ' WHERE id = '{t[0].id}'"), "not the text"),
    Attack("switch the triggers off, edit, switch them on again", lambda scene: scene.behind_the_triggers(edit(5)(scene.trail)), "not the text"),
    Attack("delete an event", sql(delete(6)), "has been deleted"),
    Attack("delete an event and its leaf", sql(delete(6), "DELETE FROM audit_leaf WHERE leaf_index = 6"), "leaf 6 is missing"),
    Attack(
        "delete an event and move the later leaves up",
        sql(delete(6), "DELETE FROM audit_leaf WHERE leaf_index = 6", *moved(7, 12, -1)),
        "do not have the root",
    ),
    Attack(
        "insert an event among the sealed",
        sql(
            *moved(11, 4, 1),
            lambda t: f"INSERT INTO audit_event (id, payload) SELECT '{DEAD}', replace(payload, id::text, '{DEAD}') FROM audit_event "
            f"WHERE id = '{t[5].id}'",
            f"INSERT INTO audit_leaf SELECT 5, id, {HASHED.format('payload')} FROM audit_event WHERE id = '{DEAD}'",
        ),
        "do not have the root",
    ),
    Attack(
        "put two events in each other's place",
        sql(*[f"UPDATE audit_leaf SET leaf_index = {new} WHERE leaf_index = {old}" for old, new in ((2, 99), (3, 2), (99, 3))]),
        "do not have the root",
    ),
    Attack(
        "swap the texts of two events",
        sql(
            lambda t: f"UPDATE audit_event a SET payload = b.payload FROM audit_event b "
            f"WHERE (a.id, b.id) IN (('{t[1].id}', '{t[2].id}'), ('{t[2].id}', '{t[1].id}'))"
        ),
        "not the text",
    ),
    Attack("remove leaves and leave their events", sql("DELETE FROM audit_leaf WHERE leaf_index >= 8"), "but only 8 are sealed in the database"),
    Attack("point a leaf at another event", sql(f"UPDATE audit_leaf SET event_id = '{DEAD}' WHERE leaf_index = 4"), "has been deleted"),
    Attack(
        "give an event another id, in its leaf too",
        sql(
            lambda t: f"UPDATE audit_event SET id = '{DEAD}' WHERE id = '{t[4].id}'",
            f"UPDATE audit_leaf SET event_id = '{DEAD}' WHERE leaf_index = 4",
        ),
        "do not say what its text says",
    ),
    Attack("change only the actor's query column", no_longer_generated("actor_label", "'somebody else'"), "do not say what its text says"),
    Attack(
        "change only the time's", no_longer_generated("occurred_at", "occurred_at - interval '1 microsecond'"), "do not say what its text says"
    ),
    Attack("change only the use case's", no_longer_generated("usecase_id", "''"), "do not say what its text says"),
    Attack(
        "change the root of a stored checkpoint",
        sql("UPDATE audit_checkpoint SET root = decode(repeat('ab', 32), 'hex') WHERE tree_size = 8"),
        "is not what was signed",
    ),
    Attack(
        "change its signed text",
        sql("UPDATE audit_checkpoint SET note = replace(note, 'sealed_at 2', 'sealed_at 1') WHERE tree_size = 8"),
        "is not valid",
    ),
    Attack(
        "put a copy of another checkpoint in its place",
        sql("UPDATE audit_checkpoint SET note = (SELECT note FROM audit_checkpoint WHERE tree_size = 4) WHERE tree_size = 8"),
        "is not what was signed",
    ),
    Attack(
        "roll the checkpoints back",
        sql("DELETE FROM audit_checkpoint WHERE tree_size > 4"),
        "are under no valid checkpoint",
        sealer_refuses=True,
    ),
    Attack(
        "put a view in the place of the table",
        sql("ALTER TABLE audit_event RENAME TO hidden", "CREATE VIEW audit_event AS SELECT * FROM hidden", "GRANT SELECT ON audit_event TO PUBLIC"),
        "is not a table",
    ),
    Attack(
        "show others other rows, by row security",
        sql(
            "ALTER TABLE audit_event ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY others ON audit_event TO gatehouse_web USING (actor_label <> 'x')",
        ),
        "row security is on for audit_event",
    ),
    Attack(
        "show others another table of the same name",
        sql(
            "CREATE SCHEMA other",
            "CREATE TABLE other.audit_event AS TABLE public.audit_event",
            "ALTER ROLE gatehouse_web IN DATABASE {database} SET search_path = other, public",
        ),
        "there is a second table other.audit_event",
    ),
    Attack("hide a new event from the sealer", lambda scene: scene.hide_an_event(), "1 events in the database are not sealed", (8, 8)),
    Attack(
        "seal everything again with another key",
        lambda scene: (scene.sql(edit(5)(scene.trail), *UNSEAL), scene.seal_again(scene.another_key())),
        "no known key signed it",
        sealer_refuses=True,
    ),
    Attack(
        "the same, and put key and checkpoint of one's own in the witness's place",
        lambda scene: (scene.sql(edit(5)(scene.trail), *UNSEAL), scene.seal_again(scene.another_key(), replace_witness=True)),
        "no known key signed it",
        remark="given your copy of the public key",
    ),
    Attack(
        "cut off the tail together with its checkpoints",
        sql(
            lambda t: f"DELETE FROM audit_event WHERE id >= '{t[8].id}'",
            "DELETE FROM audit_leaf WHERE leaf_index >= 8",
            "DELETE FROM audit_checkpoint WHERE tree_size > 8",
        ),
        "the tail is gone",
        BY_A_WITNESS,
        sealer_refuses=True,
    ),
    Attack(
        "empty all of it",
        sql("DELETE FROM audit_event", *UNSEAL),
        "the tail is gone",
        (10, 1),
        "without one it says that there is nothing to verify",
        sealer_refuses=True,
    ),
    Attack(
        "restore an older copy of the database",
        lambda scene: scene.restore_older_copy(),
        "the tail is gone",
        BY_A_WITNESS,
        sealer_refuses=True,
    ),
    Attack(
        "rewrite the tail and seal it with the stolen sealing key",
        lambda scene: (
            scene.sql(edit(10)(scene.trail), "DELETE FROM audit_leaf WHERE leaf_index >= 8", "DELETE FROM audit_checkpoint WHERE tree_size > 8"),
            scene.seal_again(scene.seal_key),
        ),
        "are not those of the witnessed checkpoint",
        BY_A_WITNESS,
        sealer_refuses=True,
    ),
    Attack(
        "dump the database, rewrite the dump, restore it and seal it all with the stolen key",
        lambda scene: (scene.restore_rewritten_dump(), scene.seal_again(scene.seal_key)),
        "are not those of the witnessed checkpoint",
        BY_A_WITNESS,
        sealer_refuses=True,
    ),
    Attack("change an event in an export", lambda scene: scene.export(changed=5), "do not have the root"),
    Attack("sign a changed export with another key", lambda scene: scene.export(changed=5, key=scene.another_key()), "no known key signed it"),
    Attack("leave an event out of an export of the whole trail", lambda scene: scene.export(without=5), "the bundle holds 11"),
    Attack(
        "leave an event out of an export of a part",
        lambda scene: scene.export_part(without=5),
        "PROVED, A PART ONLY",
        (7, 6),
        "it proves the events that it holds, and claims no more",
    ),
    Attack("change an event before it is sealed (about half a second)", lambda scene: scene.change_before_the_seal(), "VERIFIED", NEVER),
    Attack(
        "write an event of something that did not happen, as the application could", lambda scene: scene.invent_an_event(), "VERIFIED", NEVER
    ),
)  # fmt: skip


def table() -> list[str]:
    """The lines of the table for readers."""
    lines = ["| attack by a superuser of the database | found without a witness | found with one |", "|---|---|---|"]
    for attack in ATTACKS:
        alone, witnessed = ["yes" if code in FOUND else "no" for code in attack.codes]
        remark = f": {attack.remark}" if attack.remark else ""
        place = (f"{alone}{remark}", witnessed) if alone == "no" or "copy" in remark else (alone, f"{witnessed}{remark}")
        refused = ", and the sealer refuses to go on" if attack.sealer_refuses else ""
        lines.append(f"| {attack.what} | {place[0]} | {place[1]}{refused} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
