"""Registered models: their versions under the same numbers, aliases, tags and descriptions.

Servers number versions themselves. Where the source has deleted some, versions are made to fill the gap: their origin
says another number than their own, which is how they are known, also by a later attempt, and deleted at the end.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import NamedTuple

from msgspec.structs import replace

from lockgate.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from lockgate.exchange import answers, marks
from lockgate.exchange.book import Book
from lockgate.exchange.files import Sizes, copy_files, open_files
from lockgate.exchange.refused import REFUSED
from lockgate.wire.mlflow import logged_models, registry, runs
from lockgate.wire.mlflow.artifacts import PROXY_SCHEME, proxied_path
from lockgate.wire.mlflow.experiments import Tag
from lockgate.wire.mlflow.registry import ModelVersion, RegisteredModel

_NO_FOLDERS = (
    "MLflow's registry takes no / in a name; leave it out of --prefix, or rename the model first: "
    "MlflowClient().rename_registered_model(NAME, NEW)"
)
# What of a version lies in no run's or logged model's folder is put here, below its run's, or below the root.
_LOOSE = "registered"
LOOSE_ROOT = f"{PROXY_SCHEME}{_LOOSE}"


class _Source(NamedTuple):
    """Where a version's files are at the target; `run_id` None: that of the version which it is a copy of."""

    uri: str
    run_id: str | None
    model_id: str | None = None
    is_loose: bool = False  # no run and no logged model has the files


def copy_models(book: Book) -> None:
    """All of them; a version may be a copy of another model's, which then goes first."""
    waiting = {model.name: model for model in book.source.iter_models()}
    copies = _ensure_models(book, waiting)

    def copy_with_origins(name: str) -> None:
        model = waiting.pop(name)
        versions = book.source.list_versions(model)
        for version in versions:
            if (origin := _registered_name(version.source)) in waiting:
                copy_with_origins(origin)
        book.read.update({"registered models": 1, "versions": len(versions), "aliases": len(model.aliases)})
        tags = (model.tags, *(version.tags for version in versions))
        book.read["tags"] += sum(len(marks.copied(some)) for some in tags)
        if name in copies:
            with book.refusing(f"model {name}"):
                _copy_versions(book, copies[name], versions)
                _copy_aliases(book, copies[name], model)
        book.progress.advance()

    while waiting:
        copy_with_origins(next(iter(waiting)))


def _ensure_models(book: Book, models: Mapping[str, RegisteredModel]) -> dict[str, RegisteredModel]:
    """The copies as they are now, by the names that the models have at the source; without what is refused."""
    before = find_model_copies(book, models.values())
    holders = {copy.name: name for name, copy in before.items()}
    found = {}
    waiting = dict(models)

    def ensure(name: str) -> None:
        model = waiting.pop(name)
        if (holder := holders.get(book.prefix + name)) in waiting:
            ensure(holder)  # it has another name at the source by now, and leaves this one
        try:
            found[name] = _ensure_model(book, model, before.get(name))
        except REFUSED as error:
            if "/" in book.prefix + name and not book.destination.takes_folders:
                error.hint = _NO_FOLDERS
            book.refuse(f"model {name}", error)

    while waiting:
        ensure(next(iter(waiting)))
    return found


def find_model_copies(book: Book, models: Collection[RegisteredModel]) -> dict[str, RegisteredModel]:
    """Those that are at the target, under this prefix, by the names that the models have at the source now.

    The origin of a copy has the name and the time when the model was made: one whose name is gone there, or is another
    model's by now, belongs to the model of its time.
    """
    there = {copy.name: copy for copy in book.target.iter_models() if marks.origin_of(copy.tags)}
    found = {}
    for model in models:
        copy = there.get(book.prefix + model.name)
        if copy and marks.origin_of(copy.tags).endswith(f"@{model.creation_timestamp}"):
            found[model.name] = there.pop(copy.name)
    renamed: dict[str, list[RegisteredModel]] = {}
    for copy in there.values():
        before, _, made_at = marks.origin_of(copy.tags).rpartition("@")
        if copy.name == book.prefix + before:
            renamed.setdefault(made_at, []).append(copy)
    for model in models:
        same = renamed.get(str(model.creation_timestamp), [])
        if model.name not in found and len(same) == 1:  # two of one millisecond are told apart by nothing
            found[model.name] = same.pop()
    return found


def _ensure_model(book: Book, model: RegisteredModel, there: RegisteredModel | None) -> RegisteredModel:
    """The copy as it is now. Raises Conflict for a name that something else has."""
    name = book.prefix + model.name
    tags = (*marks.copied(model.tags), Tag(key=marks.ORIGIN, value=marks.dated(model.name, model.creation_timestamp)))
    call = book.target.transport.call
    if there is None:
        request = registry.CreateRegisteredModel(name=name, tags=tags, description=model.description)
        try:
            call(answers.CREATE_MODEL, request)
        except AlreadyExists as error:
            raise Conflict(
                f"{book.target.name} has a registered model {name!r} already, which is no copy of this one.",
                hint="rename or delete one of the two; then the same command copies it",
            ) from error
        there = RegisteredModel(
            name=name, creation_timestamp=0, last_updated_timestamp=0, tags=tags, description=model.description
        )
    if there.name != name:
        try:
            call(answers.RENAME_MODEL, registry.RenameModel(name=there.name, new_name=name))
        except (AlreadyExists, Conflict) as error:
            raise Conflict(f"its copy is {there.name!r}, which cannot be renamed: {error}") from error
        there = replace(there, name=name)
    for tag in set(tags) - set(there.tags):
        _mark(book, there, tag)
    if there.description != model.description:
        call(answers.UPDATE_MODEL, registry.UpdateModel(name=name, description=model.description))
    book.models.add(name)
    return there


def _mark(book: Book, there: RegisteredModel, tag: Tag) -> None:
    request = registry.SetModelTag(name=there.name, key=tag.key, value=tag.value)
    book.target.transport.call(registry.SET_MODEL_TAG, request)


def _copy_versions(book: Book, model: RegisteredModel, versions: list[ModelVersion]) -> None:
    """Those that the target has then are in `book.versions`."""
    call = book.target.transport.call
    known = {int(version.version): version for version in book.target.list_versions(model)}
    before = marks.last_version_of(model.tags)
    last = max([before, *known])  # deleted ones count: no server gives a number twice
    for version in versions:
        number, what = int(version.version), f"version {version.version} of {model.name}"
        there = known.get(number)
        if there and _is_filler(there):
            there = None
        with book.refusing(what):
            if there:
                _update_version(book, model.name, version, there)
            elif number <= last or (last := _create_version(book, model.name, version)) != number:
                raise Conflict(
                    f"it cannot be made any more, as {book.target.name} has given the number {last}; it was deleted "
                    "there, or could not be copied before.",
                    hint="register it at the source once more: with a new number it comes",
                )
        if (model.name, version.version) in book.versions:
            with book.refusing(f"stage of {what}"):
                stage, stage_there = (found.current_stage or "None" if found else "None" for found in (version, there))
                if stage != stage_there:
                    staged = registry.TransitionStage(name=model.name, version=version.version, stage=stage)
                    call(answers.TRANSITION_STAGE, staged)
    if last > before:
        _mark(book, model, marks.of_last_version(last))
    for filler in filter(_is_filler, book.target.list_versions(model)):
        call(registry.DELETE_VERSION, registry.OneModelVersion(name=model.name, version=filler.version))


def _update_version(book: Book, name: str, version: ModelVersion, there: ModelVersion) -> None:
    """Raises Conflict where something else has its number."""
    call = book.target.transport.call
    if marks.origin_of(there.tags) != marks.dated(version.version, version.creation_timestamp):
        raise Conflict(
            f"{book.target.name} has a version of this number already, which is no copy of this one.",
            hint="register it at the source once more: with a new number it comes",
        )
    found = marks.content_of(there.tags)
    _count_version(book, name, version, Sizes(found.files, found.size_bytes) if found else Sizes(0, 0))
    for tag in set(marks.copied(version.tags)) - set(there.tags):
        request = registry.SetVersionTag(name=name, version=version.version, key=tag.key, value=tag.value)
        call(registry.SET_VERSION_TAG, request)
    if there.description != version.description:
        described = registry.UpdateVersion(name=name, version=version.version, description=version.description)
        call(answers.UPDATE_VERSION, described)


def _create_version(book: Book, name: str, version: ModelVersion) -> int:
    """The number that it got; where that is another, what was made is a filler."""
    source, loose = _source_for(book, name, version)
    content = marks.Content(_digest(name, version.version), 0, *loose)
    origin = Tag(key=marks.ORIGIN, value=marks.dated(version.version, version.creation_timestamp))
    request = registry.CreateVersion(
        name=name,
        source=source.uri,
        run_id=source.run_id,
        model_id=source.model_id,
        tags=(*marks.copied(version.tags), content.tag(), origin),
        run_link=version.run_link,
        description=version.description,
    )
    made = 0
    while made < int(version.version):
        if source.is_loose:
            made = book.destination.create_loose_version(version, request)
        else:
            made = int(book.target.transport.call(answers.CREATE_VERSION, request).model_version.version)
    if made == int(version.version):
        _count_version(book, name, version, loose)
    return made


def _count_version(book: Book, name: str, version: ModelVersion, loose: Sizes) -> None:
    """It is there, with what was copied of files that lie in no run or logged model."""
    book.versions.add((name, version.version))
    book.read.update({"artifact files": loose.files, "artifact bytes": loose.size_bytes})


def _copy_aliases(book: Book, there: RegisteredModel, model: RegisteredModel) -> None:
    call = book.target.transport.call
    now = {alias.alias: alias.version for alias in there.aliases}
    placed = set()
    for alias in model.aliases:
        with book.refusing(f"alias {alias.alias} of {there.name}"):
            if (there.name, alias.version) not in book.versions:
                raise NotFound(f"its version {alias.version} is not there.")
            if now.get(alias.alias) != alias.version:
                request = registry.SetModelAlias(name=there.name, alias=alias.alias, version=alias.version)
                call(registry.SET_MODEL_ALIAS, request)
            placed.add(alias.alias)
    # Those that an earlier copy brought; one that the target has of its own stays.
    before = marks.aliases_of(there.tags)
    for gone in sorted(before & now.keys() - {alias.alias for alias in model.aliases}):
        placed.add(gone)
        with book.refusing(f"deletion of alias {gone} of {there.name}"):
            call(registry.DELETE_MODEL_ALIAS, registry.OneAlias(name=there.name, alias=gone))
            placed.remove(gone)
    if before != placed:
        with suppress(InvalidInput):  # too many for a tag: then those that are deleted later stay
            _mark(book, there, marks.of_aliases(placed))


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
    if proxied_path(uri) is None:
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


def _digest(name: str, number: str) -> str:
    """Of what a version is at the target, which is not what it was copied from."""
    return marks.digest_of(registry.OneModelVersion(name=name, version=number))


def _is_filler(version: ModelVersion) -> bool:
    """Made for another number of its model. One that somebody copied there has the tags of another model's version."""
    number, content = marks.origin_of(version.tags).partition("@")[0], marks.content_of(version.tags)
    return number != version.version and content is not None and content.digest == _digest(version.name, number)
