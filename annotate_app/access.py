"""Who may do what. Every store function that reads or writes asks here first; hiding a page is never the guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

UserRole = Literal["annotator", "adjudicator", "lead", "admin"]
ROLES: tuple[UserRole, ...] = get_args(UserRole)


class AccessError(PermissionError):
    """Raised where an actor lacks the role or the membership that an action asks for."""


class MissingError(ValueError):
    """Raised where something is asked for by its name or number and is not there."""


class TakenError(ValueError):
    """Raised where something cannot be made because there is one of its name or kind already."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Somebody acting: a signed-in user, or the command line of the machine itself (`user_id` is None, role admin).

    Attributes:
        only_project: the one project that an API token is for, None for all that the user may open.
        token: name of the API token that they act by, empty for who came in another way.
    """

    user_id: int | None
    name: str
    role: UserRole
    only_project: int | None = None
    token: str = ""

    @classmethod
    def command_line(cls) -> Actor:
        """The actor of a shell command: whoever may run commands beside the database may do everything with it."""
        return cls(user_id=None, name="command line", role="admin")

    def is_at_least(self, role: UserRole) -> bool:
        """Whether a role includes another: annotator < adjudicator < lead < admin."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def require(self, role: UserRole, action: str, project_id: int | None = None) -> None:
        """Raises AccessError with the action's name unless the role is at least `role`.

        Args:
            role: the least that may do it.
            action: for the message.
            project_id: what it is about; None is what belongs to no project, which a token for one never reaches.
        """
        if self.only_project is not None and self.only_project != project_id:
            raise AccessError(f"{action}: the token {self.token!r} is for project {self.only_project} only")
        if not self.is_at_least(role):
            whose = f"the token {self.token!r}" if self.token else self.name
            raise AccessError(f"{action} asks for the role {role}, {whose} is {self.role}")
