"""A candidate becomes a release: judged once against the champion of the day, recorded whether it passed or not.

    candidate --store--> gate key --cached? verdict--> release --passed? alias

What was decided is kept under the gate key before the release is created, so a lifecycle that dies in between goes on
where it was: the same verdict, one release. Where nothing changed, all of it is answered by three small files and no
database is opened: the key needs the champion's content, and that is known from what production serves.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lockgate.automation.recording import Lineage
from lockgate.clock import Clock
from lockgate.delivery.declare import declare, is_declared
from lockgate.entities import Content, Record, Release, Verdict
from lockgate.errors import NotFound
from lockgate.hashing import digest_canonical
from lockgate.project import Folder

if TYPE_CHECKING:
    from lockgate.client.client import Client
    from lockgate.store.actions import Actions
    from lockgate.store.store import Store

# Gates draw bootstrap samples; a verdict must not change because somebody looked twice.
SEED = 20260101


class Judged(Record, frozen=True, kw_only=True):
    """A verdict with what was stored beside it; kept under the gate key."""

    verdict: Verdict
    report: str
    profile: str | None
    flavor: str


class Registered(Record, frozen=True, kw_only=True):
    """Where a verdict ended up; kept under the gate key and under the candidate, the latest wins.

    `candidate` is its digest: `lockgate gc` keeps what a result names, whatever the model was called.
    """

    judged: Judged
    version: int
    candidate: str = ""


class Known(Record, frozen=True, kw_only=True):
    """The champion's content as this project last saw it."""

    digest: str | None


class Judge:
    """Judges the candidates of one project. State: the store, the cache, and the client on first need."""

    def __init__(
        self,
        folder: Folder,
        *,
        store: "Store",
        actions: "Actions",
        open_client: Callable[[], "Client"],
        clock: Clock,
        user: str,
    ) -> None:
        self._folder = folder
        self._model = folder.project.model
        self._store = store
        self._actions = actions
        self._open_client = open_client
        self._clock = clock
        self._user = user

    def judge(self, candidate: Content, path: Path, *, lineage: Callable[[], Lineage]) -> tuple[Registered, bool]:
        """What is recorded of the candidate at `path`, and whether that is new.

        `lineage` is asked for only when a release must be made.
        """
        known = self._known(candidate)
        if known is None or not is_declared(self._folder, self._model):
            # Before there is a release, and also where nothing but the environments has changed: from now on a client
            # that never saw lockgate.yaml is held to them, too.
            declare(self._folder, self._open_client(), model=self._model, may_loosen=False)
        return (known, False) if known is not None else self._decide(candidate, path, lineage)

    def _known(self, candidate: Content) -> Registered | None:
        """The last word on this candidate, without a database; None where the gates must be asked (again)."""
        champion = self._champion_known()
        if champion == candidate.digest:
            # What was said of it made it the champion; it is not judged against itself.
            return self._recall(candidate_key(self._model, candidate.digest))
        return self._recall(self._outcome_key(self._gate_key(candidate, champion)))

    def _decide(self, candidate: Content, path: Path, lineage: Callable[[], Lineage]) -> tuple[Registered, bool]:
        client = self._open_client()
        number = client.registry.get_alias(self._model, "champion")
        champion = self._champion(client, number)
        if champion is not None and champion.content == candidate and champion.verdict is not None:
            return self._remember(candidate, champion, champion=candidate.digest, gate_key=None), False
        champion_digest = champion.content.digest if champion else None
        key = self._gate_key(candidate, champion_digest)
        judged = self._judged(key)
        if judged is None:
            self._store.put(path)
            judged = self._ask_gates(path, champion, unreleased=number if champion is None else None)
            # Before the release: whoever finds no release yet must find the verdict.
            self._actions.put(key, msgspec.json.encode(judged))
        release, is_new = self._release(client, candidate, judged, lineage)
        champion_digest = self._move_aliases(client, release) or champion_digest
        return self._remember(candidate, release, champion=champion_digest, gate_key=key), is_new

    def _champion(self, client: "Client", number: int | None) -> Release | None:
        """None also where it was registered from outside, before any gate judged the model: an import brings such.

        Nobody has vouched for its content, so it is not loaded, and there is nothing to compare with.
        """
        if number is None:
            return None
        try:
            return client.registry.get_release(self._model, number)
        except NotFound:
            return None

    def _ask_gates(self, candidate: Path, champion: Release | None, *, unreleased: int | None) -> Judged:
        from lockgate.data.profile import encode_profile
        from lockgate.gates.judge import judge
        from lockgate.gates.report import write_report
        from lockgate.pipelines.search_path import with_our_python
        from lockgate.store.checkout import checkout

        champion_path = None
        if champion is not None:
            champion_path = self._folder.state / "models" / champion.content.digest
            if not champion_path.is_dir():
                checkout(self._store, champion.content, champion_path)
        judgement = judge(
            self._folder.project,
            candidate=candidate,
            champion=champion_path,
            champion_version=champion.version if champion else None,
            unreleased_champion=unreleased,
            root=self._folder.root,
            clock=self._clock,
            seed=SEED,
            environ=with_our_python(os.environ),
        )
        temporary = self._folder.state / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=temporary) as folder:
            write_report(judgement, Path(folder))
            report = self._store.put_tree(Path(folder)).digest
        profile = self._store.put_bytes(encode_profile(judgement.profile)) if judgement.profile else None
        return Judged(verdict=judgement.verdict, report=report, profile=profile, flavor=judgement.flavor)

    def _release(
        self, client: "Client", candidate: Content, judged: Judged, lineage: Callable[[], Lineage]
    ) -> tuple[Release, bool]:
        found = client.registry.find_release(self._model, candidate.digest)
        if found is not None and found.verdict == judged.verdict:
            return found, False
        made_by = lineage()
        release = Release(
            model=self._model,
            version=0,
            content=candidate,
            run_id=made_by.run_id,
            created_at=self._clock.now_ms(),
            created_by=self._user,
            flavor=judged.flavor,
            commit=made_by.commit,
            dirty_diff=made_by.dirty_diff,
            data=made_by.data,
            params=made_by.params,
            environment=made_by.environment,
            profile=judged.profile,
            report=judged.report,
            verdict=judged.verdict,
        )
        created = client.registry.create_release(release)
        said = {f"evaluation.{name}": value for name, value in judged.verdict.metrics.items()}
        client.tracking.log_metrics(made_by.run_id, said)
        verdict = "passed" if judged.verdict.passed else "refused"
        tags = {"lockgate.version": str(created.version), "lockgate.verdict": verdict}
        client.tracking.log_batch(made_by.run_id, tags=tags)
        return created, True

    def _move_aliases(self, client: "Client", release: Release) -> str | None:
        """Point the aliases at a version that passed; the new champion's content where there is one."""
        if release.verdict is None or not release.verdict.passed:
            return None
        is_champion = not self._folder.project.environments
        alias = "champion" if is_champion else "challenger"
        if client.registry.get_alias(self._model, alias) != release.version:
            client.registry.set_alias(self._model, alias, release.version, reason="passed its gates")
        return release.content.digest if is_champion else None

    # -- what is remembered in small files --------------------------------------------------------------------------

    def _remember(
        self, candidate: Content, release: Release, *, champion: str | None, gate_key: str | None
    ) -> Registered:
        assert release.verdict is not None and release.report is not None
        judged = Judged(verdict=release.verdict, report=release.report, profile=release.profile, flavor=release.flavor)
        outcome = Registered(judged=judged, version=release.version, candidate=candidate.digest)
        if gate_key is not None:
            self._actions.put(self._outcome_key(gate_key), msgspec.json.encode(outcome))
        self._actions.put(candidate_key(self._model, candidate.digest), msgspec.json.encode(outcome))
        self._actions.put(self._champion_key(), msgspec.json.encode(Known(digest=champion)))
        return outcome

    def _champion_known(self) -> str | None:
        """What the last environment serves to everybody, or else what the registry said when it was last asked."""
        from lockgate.serving.traffic import read_traffic

        production = self._folder.project.production
        traffic = read_traffic(self._folder.state / "serving" / production) if production else None
        if traffic is not None and len(traffic.shares) == 1 and traffic.shares[0].role == "stable":
            return traffic.shares[0].digest
        data = self._actions.get(self._champion_key())
        return msgspec.json.decode(data, type=Known).digest if data is not None else None

    def _recall(self, key: str) -> Registered | None:
        data = self._actions.get(key)
        return msgspec.json.decode(data, type=Registered) if data is not None else None

    def _judged(self, key: str) -> Judged | None:
        data = self._actions.get(key)
        return msgspec.json.decode(data, type=Judged) if data is not None else None

    def _gate_key(self, candidate: Content, champion: str | None) -> str:
        from lockgate.gates.key import gate_key

        return gate_key(self._folder.project, candidate=candidate.digest, champion=champion, root=self._folder.root)

    def _outcome_key(self, gate_key: str) -> str:
        return digest_canonical("outcome", {"gate": gate_key})

    def _champion_key(self) -> str:
        return digest_canonical("champion", {"model": self._model})


def candidate_key(model: str, digest: str) -> str:
    """Where a project keeps as which version it last registered this content."""
    return digest_canonical("outcome", {"model": model, "candidate": digest})
