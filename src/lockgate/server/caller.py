"""Who asks, and what they may do."""

from dataclasses import dataclass

import msgspec

from lockgate.entities import Grant, Role
from lockgate.metadata.access import INSTALLATION

# Each may do what the ones before it may.
ROLES: tuple[Role, ...] = ("viewer", "contributor", "approver", "admin")
_RANK = {role: rank for rank, role in enumerate(ROLES)}


@dataclass(frozen=True)
class Rights:
    """The roles of one user; on a name counts the highest of those whose pattern it fits."""

    grants: tuple[Grant, ...]

    def role_on(self, name: str) -> Role | None:
        fitting = [grant.role for grant in self.grants if _fits(grant.pattern, name)]
        return max(fitting, key=_RANK.__getitem__, default=None)

    def has(self, role: Role, name: str = INSTALLATION) -> bool:
        """Whether a model or experiment, or the installation as a whole, may be used in that role."""
        found = self.role_on(name)
        return found is not None and _RANK[found] >= _RANK[role]


class Caller(msgspec.Struct, frozen=True):
    """`rights` None is somebody who needs none: the local user, or anybody of this machine where nobody logs in."""

    name: str
    address: str = ""  # empty: this process
    rights: Rights | None = None

    @property
    def is_authenticated(self) -> bool:
        """Whether `name` was proved, and is not only what a program says."""
        return self.rights is not None

    def author(self, claimed: str) -> str:
        """Who is recorded where a record brings its author along: a name that was proved beats one that is claimed."""
        return self.name if self.is_authenticated else claimed


def _fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
