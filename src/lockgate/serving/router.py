"""Which version answers a request: a draw by the traffic's shares, or the one that the request names."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from random import Random

from lockgate.entities import Traffic
from lockgate.errors import NotFound, Unavailable
from lockgate.serving.version import ServedVersion


class Router:
    """One traffic split with its loaded versions. Never changed: another split is another router.

    Without traffic it serves nothing: `is_starting` says that there is something to serve, which is not loaded yet.
    """

    def __init__(
        self, traffic: Traffic | None, versions: Sequence[ServedVersion], rng: Random, *, is_starting: bool = False
    ) -> None:
        self.traffic = traffic
        self._is_starting = is_starting
        self.versions = tuple(versions)
        self._rng = rng
        # Where requests may be sent, and the version that each path asks for; None leaves it to the shares.
        self.infer_paths: dict[str, str | None] = {}
        if traffic is not None:
            model = f"/v2/models/{traffic.model}"
            self.infer_paths = {"/invocations": None, f"{model}/infer": None}
            self.infer_paths |= {f"{model}/versions/{version.header}/infer": version.header for version in versions}
        shares = {share.version: share.share for share in traffic.shares} if traffic else {}
        drawn = [version for version in versions if shares.get(version.version, 0.0) > 0]
        self._drawn = tuple(drawn)
        self._limits = tuple(accumulate(shares[version.version] for version in drawn))

    def draw(self) -> ServedVersion:
        """A version by its share. Raises Unavailable where nothing is served yet."""
        if len(self._drawn) == 1:
            return self._drawn[0]
        if not self._drawn:
            raise self._unavailable()
        # Scaled, so that shares that do not sum to one keep their proportion.
        at = bisect_right(self._limits, self._rng.random() * self._limits[-1])
        return self._drawn[min(at, len(self._drawn) - 1)]

    def get(self, version: str) -> ServedVersion:
        """That version. Raises NotFound naming those that are loaded."""
        for served in self.versions:
            if served.header == version:
                return served
        loaded = ", ".join(served.header for served in self.versions) or "none"
        raise NotFound(f"version {version!r} is not loaded here; loaded: {loaded}.")

    def split(self, below: str) -> tuple[str, list[str]]:
        """The model, which may be in a folder, and the rest of a path below `/v2/models/`.

        Raises NotFound unless that is the model that is served, Unavailable where nothing is served yet.
        """
        if self.traffic is None:
            raise self._unavailable()
        served = self.traffic.model
        if not f"{below}/".startswith(f"{served}/"):
            asked = below.removesuffix("/infer").removesuffix("/ready").strip("/")
            raise NotFound(f"model {asked!r} is not served here; served: {served}.")
        return served, [part for part in below[len(served) :].split("/") if part]

    def _unavailable(self) -> Unavailable:
        # No 404 of ours: a client repeats a 503, and takes a 404 for the last word.
        if self._is_starting:
            return Unavailable("starting: what is deployed here is being loaded.", hint="ask again in a moment")
        return Unavailable("nothing is deployed here yet.", hint="lockgate deploy MODEL@VERSION --to ENVIRONMENT")
