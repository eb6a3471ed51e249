"""Who does something. Every service asks for one."""

from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a person is in Gatehouse."""

    STAKEHOLDER = "stakeholder"
    APPROVER = "approver"
    ML_ENGINEER = "ml_engineer"
    AUDITOR = "auditor"
    POLICY_OWNER = "policy_owner"
    ADMIN = "admin"


class Function(StrEnum):
    """In which capacity an approver signs."""

    BUSINESS = "business"
    RISK = "risk"
    SECURITY = "security"
    LEGAL = "legal"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Actor:
    """The one who acts, as the trail keeps it for ever.

    kind: `user`, `token`, `agent` or `system`. `id` and `label` stay readable after the account is gone.
    `person` is the name of the person behind it, "" where there is none or nobody looked.
    `scopes` limits what a token may do; a signed-in person or the system has none missing (`*`).
    """

    kind: str
    id: str
    label: str
    user_id: str | None = None
    person: str = ""
    roles: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    scopes: frozenset[str] = field(default_factory=lambda: frozenset({"*"}))
    on_behalf_of: str = ""
    request_id: str = ""
    ip: str = ""
    user_agent: str = ""

    @classmethod
    def system(cls, name: str, *, on_behalf_of: str = "") -> "Actor":
        """A process of ours, such as `reconciler`; it may do what its service does."""
        return cls(kind="system", id=f"system:{name}", label=name, roles=frozenset({"system"}), on_behalf_of=on_behalf_of)

    @classmethod
    def agent(cls, host: str) -> "Actor":
        """A serving host whose signed report was verified."""
        return cls(kind="agent", id=f"agent:{host}", label=f"agent {host}", roles=frozenset({"agent"}))

    @property
    def is_system(self) -> bool:
        """Our own process, not a person."""
        return self.kind == "system"

    @property
    def is_admin(self) -> bool:
        """Administrators and our own processes."""
        return self.is_system or Role.ADMIN in self.roles

    @property
    def sees_everything(self) -> bool:
        """May read every use case: administrators, auditors and our own processes."""
        return self.is_admin or Role.AUDITOR in self.roles

    def has_role(self, *roles: str) -> bool:
        """True when the actor has one of the roles; administrators are not every role."""
        return bool(self.roles.intersection(roles))

    def has_scope(self, scope: str) -> bool:
        """True for a person, or a token that was given this scope."""
        return "*" in self.scopes or scope in self.scopes
