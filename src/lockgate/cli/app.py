"""What every command is handed: the project it works on and the way to its records, each made on first use."""

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lockgate.clock import Clock, SystemClock
from lockgate.config import Settings, home_folder, load_settings, login_name
from lockgate.documents import read_document
from lockgate.errors import NotFound
from lockgate.project import Folder, decode_project, find_project, load_project

if TYPE_CHECKING:
    from lockgate.client.client import Client
    from lockgate.store.store import Store


class App:
    """`ctx.obj` of every command. `project_file` is read instead of the lockgate.yaml that lies in `start`."""

    def __init__(
        self, *, start: Path, uri: str | None = None, clock: Clock | None = None, project_file: Path | None = None
    ) -> None:
        self.start = start.resolve()
        self._project_file = project_file
        self.clock: Clock = clock or SystemClock()
        self.flags = {"uri": uri}

    @cached_property
    def settings(self) -> Settings:
        return load_settings(environ=os.environ, home=home_folder(), **self.flags)

    @cached_property
    def folder(self) -> Folder:
        """The project at or above the folder that we were started in. Raises NotFound or InvalidInput."""
        if self._project_file is not None:
            return Folder(self.start, decode_project(read_document(self._project_file)))
        return load_project(find_project(self.start))

    @cached_property
    def folder_if_any(self) -> Folder | None:
        """The same, for a command that can do with a server alone: None where one is named and there is no project."""
        try:
            return self.folder
        except NotFound as error:
            if self.settings.uri:
                return None
            raise NotFound(error.message, hint="lockgate init, or name a server: --uri or LOCKGATE_URI") from error

    @cached_property
    def client(self) -> "Client":
        """Records of this project, for a command that is over soon.

        Where `lockgate up` runs it is asked over HTTP: that takes milliseconds, opening the database about a second.
        """
        from lockgate.automation.guard import driver_address, key_reference
        from lockgate.connect import connect

        if not self.settings.uri and (address := driver_address(self._state)):
            token = key_reference(self.folder.state) or self.settings.token
            settings = msgspec.structs.replace(self.settings, uri=address, token=token)
            return connect(settings, state=self.folder.state, user=self.user, clock=self.clock)
        return self.own_client

    @cached_property
    def own_client(self) -> "Client":
        """The same for a long command, which must not depend on a `lockgate up` that may be stopped meanwhile."""
        from lockgate.connect import connect

        # A server has its own state: whoever asks one needs no project.
        state = Path() if self.settings.uri else self._state
        return connect(self.settings, state=state, user=self.user, clock=self.clock)

    @property
    def _state(self) -> Path:
        """Where the records are, as no server is named."""
        folder = self.folder_if_any
        assert folder is not None
        return folder.state

    @cached_property
    def store(self) -> "Store":
        from lockgate.store.store import Store

        return Store(self.folder.state / "store")

    @cached_property
    def user(self) -> str:
        return self.settings.user or login_name()
