"""Who may do what. Every store function that reads or writes asks here first; hiding a page is never the guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

UserRole = Literal["annotator", "adjudicator", "lead", "admin"]
ROLES: tuple[UserRole, ...] = get_args(UserRole)


class AccessError(PermissionError):
    """Raised where an actor lacks the role or the membership that an action asks for."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Somebody acting: a signed-in user, or the command line of the machine itself (`user_id` is None, role admin)."""

    user_id: int | None
    name: str
    role: UserRole

    @classmethod
    def command_line(cls) -> Actor:
        """The actor of a shell command: whoever may run commands beside the database may do everything with it."""
        return cls(user_id=None, name="command line", role="admin")

    def is_at_least(self, role: UserRole) -> bool:
        """Whether a role includes another: annotator < adjudicator < lead < admin."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def require(self, role: UserRole, action: str) -> None:
        """Raises AccessError with the action's name unless the role is at least `role`."""
        if not self.is_at_least(role):
            raise AccessError(f"{action} asks for the role {role}, {self.name} is {self.role}")
