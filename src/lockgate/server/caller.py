"""Who asks, and what they may do."""

from dataclasses import dataclass

import msgspec

from lockgate.entities import Grant, Role
from lockgate.metadata.access import INSTALLATION
from lockgate.metadata.patterns import fits

# Each may do what the ones before it may.
ROLES: tuple[Role, ...] = ("viewer", "contributor", "approver", "admin")
_RANK = {role: rank for rank, role in enumerate(ROLES)}


@dataclass(frozen=True)
class Rights:
    """The roles of one user; on a name counts the highest of those whose pattern it fits."""

    grants: tuple[Grant, ...]

    def role_on(self, name: str) -> Role | None:
        fitting = [grant.role for grant in self.grants if fits(grant.pattern, name)]
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

    @property
    def seen(self) -> tuple[str, ...] | None:
        """Patterns of the names that the caller is a viewer of, as every role is; None where that is everything."""
        if self.rights is None or self.rights.has("viewer"):
            return None
        return tuple(grant.pattern for grant in self.rights.grants)

    def sees(self, name: str) -> bool:
        """Whether a model or experiment may be shown to the caller."""
        return self.rights is None or self.rights.has("viewer", name)

    def author(self, claimed: str) -> str:
        """Who is recorded where a record brings its author along: a name that was proved beats one that is claimed."""
        return self.name if self.is_authenticated else claimed
