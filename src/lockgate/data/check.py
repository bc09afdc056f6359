"""Data files against their contracts, for the pipeline and for the command line.

    file + contract --one pass--> broken expectations --profile--> drift against the last accepted version

The answer is kept under the content of the file, of the contract and of the accepted version, so that a file that did
not change is not read again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lockgate.clock import Clock, SystemClock
from lockgate.data.accepted import Accepted, accepted_path, find_accepted, save_accepted
from lockgate.data.contract import Contract, load_contract
from lockgate.data.failure import Failure
from lockgate.entities import ColumnDrift, Content, Record
from lockgate.errors import GateFailed, InvalidInput, NotFound
from lockgate.hashing import digest_canonical, digest_file
from lockgate.project import Folder
from lockgate.store.actions import Actions
from lockgate.store.snapshot import snapshot
from lockgate.store.stat_cache import StatCache
from lockgate.store.store import Store

if TYPE_CHECKING:
    from lockgate.data.profile import Profile

# Part of the key of a kept answer: a new way of checking must not find the answers of the old one.
_CHECK_VERSION = 1


class DataReport(Record, frozen=True, kw_only=True):
    """What one file was found to be. `drift` is empty where there is nothing to compare with."""

    name: str
    path: str
    content: Content
    contract: str | None = None
    rows: int | None = None
    expectations: int = 0
    failures: tuple[Failure, ...] = ()
    drift: tuple[ColumnDrift, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.failures


def check_data(
    folder: Folder, store: Store, *, names: Sequence[str] | None = None, clock: Clock | None = None
) -> list[DataReport]:
    """Check every data file of the project, or those named. A file without a contract passes.

    Raises NotFound for a missing file or contract and InvalidInput for an unknown name or an unreadable file.
    """
    project = folder.project
    unknown = [name for name in names or () if name not in project.data]
    if unknown:
        raise InvalidInput(f"there is no data {unknown[0]!r}; there is: {', '.join(project.data) or 'none'}.")
    stats = StatCache(folder.state / "data-stats", clock=clock or SystemClock())
    reports = []
    for name in names or project.data:
        data = project.data[name]
        content = snapshot(folder.root / data.path, stats)
        if content is None:
            raise NotFound(f"there is no data file {folder.root / data.path} (data {name!r}).")
        if data.contract is None:
            reports.append(DataReport(name=name, path=data.path, content=content))
        else:
            reports.append(_kept_or_checked(folder, store, name, content, data.path, data.contract))
    stats.save()
    return reports


def check_file(
    path: Path,
    contract_path: Path,
    *,
    name: str | None = None,
    content: Content | None = None,
    accepted: Accepted | None = None,
) -> DataReport:
    """Check one file now. Drift is asked for where the contract wants it and a version was accepted.

    Raises NotFound, or InvalidInput for a file that is no readable table and for a wrong contract.
    """
    from lockgate.data.expectations import check_table

    if path.is_dir():
        raise InvalidInput(f"{path} is a folder; a contract is for one table.")
    if not path.is_file():
        raise NotFound(f"there is no data file {path}.")
    contract = load_contract(contract_path)
    content = content or Content(kind="file", digest=digest_file(path), size_bytes=path.stat().st_size)
    checked = check_table(path, contract)
    drift: tuple[ColumnDrift, ...] = ()
    failures = checked.failures
    # an accepted version of the same content cannot have drifted from itself
    if contract.drift is not None and accepted is not None and accepted.content != content and checked.rows:
        drift = _drift(path, contract, accepted.profile)
        failures += tuple(_drift_failure(item) for item in drift if item.drift_detected)
    return DataReport(
        name=name or path.name,
        path=str(path),
        content=content,
        contract=str(contract_path),
        rows=checked.rows,
        expectations=checked.expectations + len(drift),
        failures=failures,
        drift=drift,
    )


def accept(folder: Folder, report: DataReport) -> None:
    """Remember this version of the file as the one that later versions are compared with.

    Raises InvalidInput where the file is not the one that the report is about any more.
    """
    from lockgate.data.frames import read_frame
    from lockgate.data.profile import profile_frame

    if report.contract is None:
        return
    known = find_accepted(folder.state, report.name)
    if known is not None and known.content == report.content:
        return
    path = folder.root / report.path
    profile = profile_frame(read_frame(path))
    if digest_file(path) != report.content.digest:
        raise InvalidInput(f"{path} has changed since it was checked.", hint="check it again")
    save_accepted(folder.state, report.name, Accepted(content=report.content, profile=profile))


def refusal(reports: Sequence[DataReport]) -> GateFailed | None:
    """The error that stops a pipeline: every broken expectation of every refused file. None where all passed."""
    refused = [report for report in reports if not report.passed]
    if not refused:
        return None
    lines = []
    for report in refused:
        lines.append(f"{report.path} breaks its contract {report.contract}:")
        lines += [f"  - {failure}" for failure in report.failures]
    drifted = [r.name for r in refused if all(failure.expectation == "drift" for failure in r.failures)]
    hint = f"mend the data, or edit {refused[0].contract} where the data is right"
    return GateFailed("\n".join(lines), hint=f"lockgate check --accept {' '.join(drifted)}" if drifted else hint)


def _kept_or_checked(folder: Folder, store: Store, name: str, content: Content, path: str, contract: str) -> DataReport:
    if content.kind == "tree":
        raise InvalidInput(f"data {name!r} is a folder ({path}); a contract is for one table.")
    contract_path = folder.root / contract
    if not contract_path.is_file():
        raise NotFound(
            f"there is no contract {contract_path} (data {name!r}).",
            hint=f"lockgate check --infer {path} --output {contract}",
        )
    marks = [digest_file(file) if file.is_file() else "" for file in (contract_path, accepted_path(folder.state, name))]
    key = digest_canonical("data-check", [_CHECK_VERSION, name, path, content.digest, contract, *marks])
    actions = Actions(store.root / "actions")
    kept = actions.get(key)
    if kept is not None:
        return msgspec.json.decode(kept, type=DataReport)
    accepted = find_accepted(folder.state, name)
    report = check_file(folder.root / path, contract_path, name=name, content=content, accepted=accepted)
    report = msgspec.structs.replace(report, path=path, contract=contract)
    actions.put(key, msgspec.json.encode(report))
    return report


def _drift(path: Path, contract: Contract, reference: "Profile") -> tuple[ColumnDrift, ...]:
    from lockgate.data.drift import compare
    from lockgate.data.frames import read_frame
    from lockgate.data.profile import profile_frame

    assert contract.drift is not None
    return compare(
        reference,
        profile_frame(read_frame(path), reference=reference),
        alpha=contract.drift.false_alarm_rate,
        min_effect=contract.drift.min_effect,
        columns=contract.drift.columns,
    )


def _drift_failure(drift: ColumnDrift) -> Failure:
    return Failure(
        expectation="drift",
        column=drift.column,
        message=f"column {drift.column!r} differs from the last accepted version: PSI {drift.effect:.3g}, "
        f"adjusted p {drift.p_adjusted:.2g} ({drift.method})",
    )
