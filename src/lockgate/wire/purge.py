"""Deleting for good the runs, logged models and experiments that were deleted before."""

from lockgate.wire.operation import Message, own


class Purge(Message, frozen=True, kw_only=True):
    """What was deleted before this time, in milliseconds; `dry_run` only counts."""

    before: int
    dry_run: bool = False


class Purged(Message, frozen=True, kw_only=True, omit_defaults=False):
    """One call deletes a limited number: `more` says that another one may find something to do.

    `kept` counts runs and logged models that registered versions were made from, in a dry run and where there is no
    more to do; `elsewhere` names folders that Lockgate does not keep and so leaves alone.
    """

    runs: int
    logged_models: int
    experiments: int
    kept: int
    folders: int = 0
    elsewhere: tuple[str, ...] = ()
    more: bool = False


PURGE = own("tracking", "purge", Purge, Purged)
