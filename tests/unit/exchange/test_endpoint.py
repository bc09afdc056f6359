from pathlib import Path
from typing import Any

from lockgate.client.transport import Transport
from lockgate.exchange.endpoint import Endpoint
from lockgate.wire.mlflow import runs
from lockgate.wire.operation import Operation, Req, Res


class Pages(Transport):
    """Of one history."""

    def __init__(self, *pages: tuple[runs.Metric, ...]) -> None:
        self._pages = pages

    def call(self, operation: Operation[Req, Res], request: Req) -> Res:
        assert isinstance(request, runs.MetricHistory)
        number = int(request.page_token or 0)
        token = str(number + 1) if number + 1 < len(self._pages) else ""
        answer: Any = runs.MetricPage(metrics=self._pages[number], next_page_token=token)
        return answer  # type: ignore[no-any-return]  # of the only operation that is called

    def put_file(self, path: str, local: Path) -> None: ...

    def get_file(self, path: str, target: Path) -> None: ...

    def close(self) -> None: ...


def test_value_that_is_told_again_beside_itself_is_one_also_from_page_to_page() -> None:
    first, second, nan = (
        runs.Metric(key="loss", value=value, timestamp=at, step=1) for value, at in ((0.5, 1), (0.5, 2), ("NaN", 2))
    )
    pages = Pages((first, first, second), (second,), (second, nan, first), (nan,))
    assert list(Endpoint(pages, "there").iter_history("run", "loss")) == [first, second, nan, first]
