"""Who of whom signs a gate: what each function of the quorum has, what it still wants, and from whom it may come. Reads only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apps.accounts.models import RoleAssignment, User
from apps.approvals import policy_rules, rules
from apps.approvals.models import Gate, Signature
from apps.core.actor import Actor, Role


@dataclass(frozen=True, slots=True)
class Seat:
    """One function of the quorum: how many sign, who has, how many are still wanted.

    of: people of whom they are (those the policy names, else all who approve for the function), whether they may sign this gate or not.
    named: the policy names them. may_sign: names of those who may still sign, delegates aside; empty on a decided gate, and for a
    caller that is no person.
    """

    function: str
    needed: int
    signatures: list[Signature]
    wanted: int
    of: int
    named: bool
    may_sign: list[str]

    @property
    def words(self) -> str:
        """`2 of 3 risk approvers`."""
        return f"{self.needed} of {self.of} {'named ' if self.named else ''}{self.function} approver{'' if self.of == 1 else 's'}"


def approvers(gate: Gate) -> dict[str, list[User]]:
    """Function of the quorum -> the people who hold it, by name, and whom the policy does not leave out. One query."""
    body, quorum = gate.policy.body, gate.policy.quorum
    people: dict[str, list[User]] = {function: [] for function in quorum}
    held = RoleAssignment.objects.filter(role=Role.APPROVER, function__in=list(quorum), user__is_active=True).select_related("user")
    for row in held.order_by("user__full_name", "user_id"):
        if policy_rules.in_pool(body, row.function, row.user.email):
            people[row.function].append(row.user)
    return people


def seats(actor: Actor, gate: Gate, valid: Sequence[Signature], people: Mapping[str, Sequence[User]]) -> list[Seat]:
    """The seats of a gate in the order functions are always named; `valid`: its signatures that are not void; `people`: its approvers."""
    body, quorum = gate.policy.body, gate.policy.quorum
    under_way = gate.state in (Gate.State.DRAFT, Gate.State.OPEN) and actor.user_id is not None
    spoken = {voice for s in valid for voice in (s.signer_id, s.on_behalf_of_id) if voice}
    found = []
    for function, needed in quorum.items():
        given = [s for s in valid if s.meaning == "approved" and s.function == function]
        wanted = max(needed - len(given), 0)
        free = [str(p) for p in people[function] if p.id not in spoken and _may(gate, p)] if wanted and under_way else []
        found.append(Seat(function, needed, given, wanted, len(people[function]), "people" in body.get("pools", {}).get(function, {}), free))
    return found


def _may(gate: Gate, person: User) -> bool:
    """Four-eyes as the policy says."""
    excluded = gate.policy.four_eyes
    if excluded["requester"] and person.id in (gate.requested_by_id, gate.opened_by_id):
        return False
    return not (excluded["authors"] and rules.is_author_of(gate.model_version, person))
