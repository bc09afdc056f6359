"""The in-process transport: the client's calls go straight to the handlers, without a server and without JSON."""

from contextlib import closing
from pathlib import Path

from lockgate.client.transport import Transport
from lockgate.server import files
from lockgate.server.context import Context
from lockgate.server.decode import require_storable
from lockgate.server.perform import perform
from lockgate.server.table import BY_NAME
from lockgate.store.atomic import replacing
from lockgate.wire.operation import Operation, Req, Res


class LocalTransport(Transport):
    """On an installation of this machine."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def call(self, operation: Operation[Req, Res], request: Req) -> Res:
        require_storable(request)
        answer: Res = perform(BY_NAME[operation.name], self.context, request)
        return answer

    def put_file(self, path: str, local: Path) -> None:
        files.store_file(self.context, path, local)

    def get_file(self, path: str, target: Path) -> None:
        with (
            replacing(target) as partial,
            closing(files.open_file(self.context, path).content) as source,
            partial.open("xb") as file,
        ):
            while chunk := source.read(1 << 20):
                file.write(chunk)

    def let_go(self) -> None:
        self.context.database.let_go()

    @property
    def is_let_go(self) -> bool:
        return self.context.database.is_let_go

    def close(self) -> None:
        self.context.close()
