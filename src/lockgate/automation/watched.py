"""What `retrain: {on: [data]}` watches, by digest: the data files, and the contracts that they are held to.

A run that a contract refused has nothing new to read until somebody mends the data or the contract; either is a change
that starts the next run, once.
"""

from lockgate.clock import Clock
from lockgate.hashing import digest_canonical, digest_file
from lockgate.project import Data, Folder
from lockgate.store.snapshot import snapshot
from lockgate.store.stat_cache import StatCache


def watched_data(folder: Folder, clock: Clock) -> dict[str, str]:
    """The digest of each data file by its name, and that of its contract; what is missing now is left out."""
    stats = StatCache(folder.state / "tmp" / "watched.stats", clock=clock)
    found: dict[str, str] = {}
    for name, data in folder.project.data.items():
        content = snapshot(folder.root / data.path, stats)
        if content is not None:
            found[name] = content.digest
        contract = _contract(folder, data)
        if contract is not None:
            # No name of a data file has a space in it.
            found[f"contract of {name}"] = contract
    stats.save()
    return found


def _contract(folder: Folder, data: Data) -> str | None:
    """Changes with the file and with the line of lockgate.yaml that names it."""
    if data.contract is None:
        return digest_canonical("contract", None)
    try:
        return digest_canonical("contract", [data.contract, digest_file(folder.root / data.contract)])
    except FileNotFoundError:
        return None
