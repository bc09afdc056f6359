"""The last accepted version of each data file: its content and its profile, in one file that is replaced whole.

`.lockgate/accepted/<data name>.json` holds the profile itself, so that it depends on nothing that could be collected.
"""

from pathlib import Path

import msgspec

from lockgate.data.profile import Profile
from lockgate.entities import Content, Record
from lockgate.errors import DataDamaged
from lockgate.store.atomic import write_atomically


class Accepted(Record, frozen=True, kw_only=True):
    """A version of a data file that was found good."""

    content: Content
    profile: Profile


def find_accepted(state: Path, name: str) -> Accepted | None:
    """The last accepted version, or None before the first. Raises DataDamaged."""
    path = accepted_path(state, name)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Accepted)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise DataDamaged(
            f"{path} cannot be read: {error}.", hint=f"delete it; lockgate check --accept {name} makes it again"
        ) from error


def save_accepted(state: Path, name: str, accepted: Accepted) -> None:
    """Replace the last accepted version. Raises StorageFull."""
    write_atomically(accepted_path(state, name), msgspec.json.encode(accepted))


def accepted_path(state: Path, name: str) -> Path:
    return state / "accepted" / f"{name}.json"
