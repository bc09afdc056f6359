"""Registered models: their versions under the same numbers, aliases, tags and descriptions.

Servers number versions themselves. Where the source has deleted some, versions are made to fill the gap: their origin
says another number than their own, which is how they are known, also by a later attempt, and deleted at the end.
"""

from contextlib import suppress
from typing import NamedTuple

from lockgate.errors import Conflict, InvalidInput, NotFound
from lockgate.exchange import answers, marks
from lockgate.exchange.book import Book
from lockgate.exchange.files import Sizes, copy_files, open_files
from lockgate.wire.mlflow import logged_models, registry, runs
from lockgate.wire.mlflow.experiments import Tag
from lockgate.wire.mlflow.registry import ModelVersion, RegisteredModel

_PROXIED = "mlflow-artifacts:"
_NO_FOLDERS = (
    "MLflow's registry takes no / in a name; leave it out of --prefix, or rename the model first: "
    "MlflowClient().rename_registered_model(NAME, NEW)"
)
# What of a version lies in no run's or logged model's folder is put here, below its run's, or below the root.
_LOOSE = "registered"
LOOSE_ROOT = f"{_PROXIED}/{_LOOSE}"


class _Source(NamedTuple):
    """Where a version's files are at the target; `run_id` None: that of the version which it is a copy of."""

    uri: str
    run_id: str | None
    model_id: str | None = None
    is_loose: bool = False  # no run and no logged model has the files


def copy_models(book: Book) -> None:
    """All of them; a version may be a copy of another model's, which then goes first."""
    waiting = {model.name: model for model in book.source.iter_models()}
    book.names = frozenset(waiting)
    book.model_copies = [model for model in book.target.iter_models() if marks.origin_of(model.tags)]
    while waiting:
        _copy_with_origins(book, next(iter(waiting)), waiting)


def _copy_with_origins(book: Book, name: str, waiting: dict[str, RegisteredModel]) -> None:
    model = waiting.pop(name)
    versions = book.source.list_versions(model)
    for version in versions:
        if (origin := _registered_name(version.source)) in waiting:
            _copy_with_origins(book, origin, waiting)
    _copy_model(book, model, versions)
    book.progress.advance()


def _copy_model(book: Book, model: RegisteredModel, versions: list[ModelVersion]) -> None:
    book.read.update({"registered models": 1, "versions": len(versions), "aliases": len(model.aliases)})
    tags = (model.tags, *(version.tags for version in versions))
    book.read["tags"] += sum(len(marks.copied(some)) for some in tags)
    try:
        there = _ensure_model(book, model)
    except InvalidInput as error:
        if "/" in book.prefix + model.name and not book.destination.takes_folders:
            error.hint = _NO_FOLDERS
        book.refuse(f"model {model.name}", error)
        return
    book.models.add(there.name)
    known = {int(version.version): version for version in book.target.list_versions(there)}
    made = {number for number, version in known.items() if not _is_filler(version)}
    for version in versions:
        number = int(version.version)
        try:
            sizes = _copy_version(book, there.name, version, known[number] if number in made else None)
        except (InvalidInput, NotFound) as error:
            book.refuse(f"version {number} of {there.name}", error)
            continue
        made.add(number)
        book.versions.add((there.name, version.version))
        book.read.update({"artifact files": sizes.files, "artifact bytes": sizes.size_bytes})
    call = book.target.transport.call
    for filler in filter(_is_filler, book.target.list_versions(there)):
        call(registry.DELETE_VERSION, registry.OneModelVersion(name=there.name, version=filler.version))
    now = {alias.alias: alias.version for alias in there.aliases}
    for alias in model.aliases:
        if int(alias.version) not in made:
            book.refuse(f"alias {alias.alias} of {there.name}", NotFound(f"its version {alias.version} is not there."))
            continue
        if now.get(alias.alias) != alias.version:
            request = registry.SetModelAlias(name=there.name, alias=alias.alias, version=alias.version)
            try:
                call(registry.SET_MODEL_ALIAS, request)
            except InvalidInput as error:
                book.refuse(f"alias {alias.alias} of {there.name}", error)
    _remove_gone_aliases(book, model, there)


def _remove_gone_aliases(book: Book, model: RegisteredModel, there: RegisteredModel) -> None:
    """Those that an earlier copy brought; one that the target has of its own stays."""
    call = book.target.transport.call
    names = {alias.alias for alias in model.aliases}
    before = marks.aliases_of(there.tags)
    for alias in sorted(before & {alias.alias for alias in there.aliases} - names):
        try:
            call(registry.DELETE_MODEL_ALIAS, registry.OneAlias(name=there.name, alias=alias))
        except (InvalidInput, Conflict) as error:
            book.refuse(f"deletion of alias {alias} of {there.name}", error)
            names.add(alias)
    if before != names:
        mark = marks.of_aliases(names)
        with suppress(InvalidInput):  # too many for a tag: then those that are deleted later stay
            call(registry.SET_MODEL_TAG, registry.SetModelTag(name=there.name, key=mark.key, value=mark.value))


def _ensure_model(book: Book, model: RegisteredModel) -> RegisteredModel:
    """The copy as it is now. Raises Conflict for a name that something else has."""
    name = book.prefix + model.name
    tags = (*marks.copied(model.tags), Tag(key=marks.ORIGIN, value=marks.dated(model.name, model.creation_timestamp)))
    call = book.target.transport.call
    there = _find_model(book, name) or _rename_copy(book, model, name)
    if there is None:
        request = registry.CreateRegisteredModel(name=name, tags=tags, description=model.description)
        call(answers.CREATE_MODEL, request)
        return RegisteredModel(name=name, creation_timestamp=0, last_updated_timestamp=0, tags=tags)
    if marks.origin_of(there.tags) != marks.origin_of(tags):
        raise Conflict(
            f"{book.target.name} has a registered model {name!r} already, which is no copy of this one.",
            hint=f"give the copies other names: --prefix {'other' if book.prefix else 'mlflow'}-",
        )
    for tag in set(tags) - set(there.tags):
        call(registry.SET_MODEL_TAG, registry.SetModelTag(name=name, key=tag.key, value=tag.value))
    if there.description != model.description:
        call(answers.UPDATE_MODEL, registry.UpdateModel(name=name, description=model.description))
    return there


def _rename_copy(book: Book, model: RegisteredModel, name: str) -> RegisteredModel | None:
    """The copy that had the name which the model had at the source before, under its new one.

    Its origin has that name and the time when the model was made. Raises InvalidInput where it cannot be renamed.
    """
    found = []
    for there in book.model_copies:
        before, _, made_at = marks.origin_of(there.tags).rpartition("@")
        is_gone = before not in book.names and there.name == book.prefix + before
        if is_gone and made_at == str(model.creation_timestamp):
            found.append(there)
    if len(found) != 1:
        return None  # two of one millisecond are told apart by nothing
    call = book.target.transport.call
    try:
        call(answers.RENAME_MODEL, registry.RenameModel(name=found[0].name, new_name=name))
    except Conflict as error:
        raise InvalidInput(f"its copy is {found[0].name!r}, which cannot be renamed: {error}") from error
    origin = marks.dated(model.name, model.creation_timestamp)
    call(registry.SET_MODEL_TAG, registry.SetModelTag(name=name, key=marks.ORIGIN, value=origin))
    return _find_model(book, name)


def _find_model(book: Book, name: str) -> RegisteredModel | None:
    try:
        return book.target.transport.call(answers.GET_MODEL, registry.ModelName(name=name)).registered_model
    except NotFound:
        return None


def _copy_version(book: Book, name: str, version: ModelVersion, there: ModelVersion | None) -> Sizes:
    """What was copied of files that lie in no run or logged model."""
    call = book.target.transport.call
    place = registry.OneModelVersion(name=name, version=version.version)
    tags = marks.copied(version.tags)
    origin = marks.dated(version.version, version.creation_timestamp)
    if there is None:
        source, loose = _source_for(book, name, version)
        digest = marks.digest_of(place)
        content = marks.Content(digest, 0, *loose).tag()
        _create(book, name, version, source, (*tags, content, Tag(key=marks.ORIGIN, value=origin)))
    elif marks.origin_of(there.tags) != origin:
        raise Conflict(
            f"{name} at {book.target.name} has a version {version.version} already, which is no copy of this one.",
            hint="copy into other names with --prefix",
        )
    else:
        found = marks.content_of(there.tags)
        loose = Sizes(found.files, found.size_bytes) if found else Sizes(0, 0)
        for tag in set(tags) - set(there.tags):
            request = registry.SetVersionTag(name=name, version=version.version, key=tag.key, value=tag.value)
            call(registry.SET_VERSION_TAG, request)
        if there.description != version.description:
            described = registry.UpdateVersion(name=name, version=version.version, description=version.description)
            call(answers.UPDATE_VERSION, described)
    stage, stage_there = (found.current_stage or "None" if found else "None" for found in (version, there))
    if stage != stage_there:
        staged = registry.TransitionStage(name=name, version=version.version, stage=stage)
        call(answers.TRANSITION_STAGE, staged)
    return loose


def _create(book: Book, name: str, version: ModelVersion, source: _Source, tags: tuple[Tag, ...]) -> None:
    wanted = int(version.version)
    while True:
        request = registry.CreateVersion(
            name=name,
            source=source.uri,
            run_id=source.run_id,
            model_id=source.model_id,
            tags=tags,
            run_link=version.run_link,
            description=version.description,
        )
        if source.is_loose:
            made = book.destination.create_loose_version(version, request)
        else:
            made = int(book.target.transport.call(answers.CREATE_VERSION, request).model_version.version)
        if made == wanted:
            return
        if made > wanted:
            raise Conflict(
                f"{name} at {book.target.name} gives its next version the number {made}, so that there can be no "
                f"version {wanted}.",
                hint="copy into other names with --prefix",
            )


def _source_for(book: Book, name: str, version: ModelVersion) -> tuple[_Source, Sizes]:
    """The same files at the target, copied there where no run or logged model has them."""
    uri, nothing = version.source, Sizes(0, 0)
    run = book.runs.get(version.run_id)
    run_id = run.id if run else ""
    if original := _registered_name(uri):
        number = uri.rpartition("/")[2]
        if (book.prefix + original, number) in book.versions:
            return _Source(f"models:/{book.prefix}{original}/{number}", None), nothing
    elif logged := book.logged_models.get(uri.removeprefix("models:/")):
        return _Source(f"models:/{logged.id}", run_id, logged.id), nothing
    if uri.startswith("models:/"):
        uri = _files_of(book, version)
    if uri.startswith(f"runs:/{version.run_id}/") and run:
        return _Source(uri.replace(version.run_id, run.id, 1), run_id), nothing
    if (model_id := version.model_id) and (logged := book.logged_models.get(model_id)):
        get_model = logged_models.GetLoggedModel(model_id=model_id)
        root = book.source.transport.call(answers.GET_LOGGED_MODEL, get_model).model.info.artifact_uri
        if uri.startswith(root):
            return _Source(logged.artifact_uri + uri.removeprefix(root), run_id, logged.id), nothing
    if run:
        get_run = runs.OfRun(run_id=version.run_id)
        root = book.source.transport.call(answers.GET_RUN, get_run).run.info.artifact_uri
        if uri == root or uri.startswith(f"{root}/"):
            return _Source(run.artifact_uri + uri.removeprefix(root), run_id), nothing
    if not uri.startswith(_PROXIED):
        return _Source(uri, run_id, is_loose=True), nothing  # kept elsewhere, where it stays
    root = run.artifact_uri if run else LOOSE_ROOT
    place = f"{root}/{_LOOSE}/{name}/{version.version}"
    files = copy_files(open_files(book.source.transport, uri), open_files(book.target.transport, place))
    if not files.files and version.source.startswith("models:/"):
        raise _gone(version)
    return _Source(place, run_id, is_loose=True), files


def _files_of(book: Book, version: ModelVersion) -> str:
    """Where a server says the files are that it serves for a version, also when what it was made from is gone."""
    place = registry.OneModelVersion(name=version.name, version=version.version)
    try:
        uri = book.source.transport.call(registry.VERSION_DOWNLOAD_URI, place).artifact_uri
    except NotFound:
        uri = version.source
    if uri.startswith("models:/"):
        raise _gone(version)
    return uri


def _gone(version: ModelVersion) -> InvalidInput:
    return InvalidInput(f"its source {version.source} is not there to be copied.")


def _registered_name(source: str) -> str:
    """The model in `models:/NAME/VERSION`; empty for other sources."""
    rest = source.removeprefix("models:/")
    return rest.rpartition("/")[0] if rest != source and "/" in rest else ""


def _is_filler(version: ModelVersion) -> bool:
    origin = marks.origin_of(version.tags)
    return bool(origin) and origin.partition("@")[0] != version.version
