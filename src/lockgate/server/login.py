"""Who calls: bearer tokens and basic authentication, as MLflow's clients and browsers send them.

Without users nobody logs in, and only this machine is served (`origin`). From the first user on everybody does. That
does not end before the server does, so removing users never opens one that others can reach.

What is checked against is a copy of users, grants and tokens in memory, at most a second old: a revoked token, a
removed user and a changed role count within that second, in every server of the installation; what was just made counts
at once, because nobody is refused by an old copy. Without the database only the server's own metrics are shown, by the
newest copy there is.

A token is looked up and compared in microseconds. A password costs scrypt, so for some minutes after its last use a
digest of a right one, keyed with a secret of this process, stands for it. Failures are slowed down by user and by
address, and those of tokens apart: a program with an old token must not keep the people out who share its address.
"""

import asyncio
import base64
import hmac
import secrets
from collections import OrderedDict

from lockgate.clock import Clock
from lockgate.errors import TooManyRequests, Unauthenticated, Unavailable
from lockgate.metadata.access import Directory, KnownToken, KnownUser, read_directory, read_revision
from lockgate.metadata.database import Database
from lockgate.server.bearer import is_same_secret, read_token
from lockgate.server.caller import Caller, Rights
from lockgate.server.origin import Sender
from lockgate.server.passwords import nobodys_hash, verify_password
from lockgate.server.throttle import FAILURES_PER_USER, Throttle
from lockgate.server.workers import Workers

FRESH_S = 1.0
REMEMBERED_S = 300.0
# Between two looks for tokens that were just made, while an address has too many unknown ones.
_SPACE_S = 0.1
FAILURES_PER_ADDRESS = 60  # a minute; behind a proxy everybody has one address

_MAX_REMEMBERED = 1024
_MAX_WAITING = 32  # passwords that are checked or wait to be; each takes a third of a second


class Login:
    """One a server. `local_key` is a secret that only processes of this user can read; they are trusted."""

    def __init__(self, database: Database, clock: Clock, *, local_user: str, local_key: str = "") -> None:
        self._database = database
        self._clock = clock
        self._local_user = local_user
        self._local_key = local_key
        self._secret = secrets.token_bytes(32)
        self._nobody = nobodys_hash()
        self._remembered: OrderedDict[bytes, tuple[str, float]] = OrderedDict()  # proof -> (hash, until)
        self._by_user = Throttle(clock, per_minute=FAILURES_PER_USER)
        self._by_address = Throttle(clock, per_minute=FAILURES_PER_ADDRESS)
        self._tokens_by_address = Throttle(clock, per_minute=FAILURES_PER_ADDRESS)
        # One at a time: a flood of guesses must not take the cores and the memory that requests need.
        self._verifier = Workers(1, name="lockgate-login")
        self._reader = Workers(1, name="lockgate-users")
        self._waiting = 0
        self._judging: dict[bytes, asyncio.Future[KnownUser]] = {}  # by the proof, which all who send it wait for
        self._reading = asyncio.Lock()
        with database.read() as connection:
            self._directory = read_directory(connection)
        self._read_at = clock.monotonic()
        self.is_required = bool(self._directory.users)

    def known(self, sender: Sender) -> Caller | None:
        """Who calls, where nobody has to be waited for to know it. Raises Unauthenticated for what is no password."""
        is_bearer = sender.scheme == "bearer"
        is_local = is_bearer and self._local_key and is_same_secret(sender.credentials, self._local_key)
        if is_local or not self.is_required:
            return Caller(sender.claimed_user or self._local_user, sender.address)
        user: KnownUser | None = None
        directory = self._directory
        if is_bearer:
            token = _right_token(directory, sender.credentials)
            if token and not self._has_expired(token):
                user = directory.users[token.user]
        elif sender.scheme == "basic":
            user = self._remembered_user(*_decode_basic(sender.credentials))
        return None if user is None else Caller(user.name, sender.address, Rights(user.grants))

    async def caller(self, sender: Sender) -> Caller:
        """The same of everybody, by what `keep_fresh` has read.

        Raises Unauthenticated, and TooManyRequests after too many failures.
        """
        known = self.known(sender)
        if known is not None:
            return known
        if sender.scheme not in ("bearer", "basic"):
            raise _refusal("this server asks for a login.")
        judge = self._by_token if sender.scheme == "bearer" else self._by_password
        user = await judge(sender.credentials, sender.address)
        return Caller(user.name, sender.address, Rights(user.grants))

    async def keep_fresh(self) -> None:
        """Read users, grants and tokens again where the copy is old and they have changed."""
        if self.is_fresh:
            return
        async with self._reading:
            if not self.is_fresh:
                await self._reader.call(self._read)

    @property
    def is_fresh(self) -> bool:
        """Whether there is no need for `keep_fresh`."""
        return self._clock.monotonic() - self._read_at < FRESH_S

    def close(self, *, limit_s: float) -> None:
        """A password is not waited for, and a read no longer than `limit_s`: they end with the process."""
        self._verifier.close(limit_s=0)
        self._reader.close(limit_s=limit_s)

    async def _read_again(self, *, spaced: bool = False) -> None:
        """Know what has been made until now. However many ask, one at a time reads, and `spaced` few times a second."""
        asked_at = self._clock.monotonic()
        if spaced:
            await asyncio.sleep(self._read_at + _SPACE_S - asked_at)
        async with self._reading:
            if self._read_at <= asked_at:
                await self._reader.call(self._read)

    def _read(self) -> None:
        began = self._clock.monotonic()
        with self._database.read() as connection:
            if read_revision(connection) != self._directory.revision:
                self._directory = read_directory(connection)
        self.is_required = self.is_required or bool(self._directory.users)
        self._read_at = began

    async def _by_token(self, text: str, address: str) -> KnownUser:
        if _right_token(self._directory, text) is None:  # it may just have been made
            await self._read_again(spaced=self._tokens_by_address.wait_s(address) > 0)
        directory = self._directory
        token = _right_token(directory, text)
        if token is None:
            self._tokens_by_address.take(address)
            raise _refusal("this token is not known here.")
        if self._has_expired(token):
            raise _refusal("this token has expired.")
        return directory.users[token.user]

    def _has_expired(self, token: KnownToken) -> bool:
        return token.expires_at is not None and self._clock.now_ms() >= token.expires_at

    async def _by_password(self, credentials: str, address: str) -> KnownUser:
        revision = self._directory.revision
        try:
            return await self._judged(credentials, address)
        except Unauthenticated:
            await self._read_again()
            if self._directory.revision == revision:
                raise
        return await self._judged(credentials, address)

    async def _judged(self, credentials: str, address: str) -> KnownUser:
        name, password = _decode_basic(credentials)
        proof = self._proof(name, password)
        judging = self._judging.get(proof)
        if judging is None:
            judging = self._judging[proof] = asyncio.ensure_future(self._judge(name, password, address))
            judging.add_done_callback(lambda _: self._judging.pop(proof))
        return await asyncio.shield(judging)  # who goes away takes nobody's judgement along

    async def _judge(self, name: str, password: str, address: str) -> KnownUser:
        known = self._directory.users.get(name)
        stored = known.password if known else ""
        self._by_user.take(name)  # first: one program with an old password must not use up the address
        try:
            self._by_address.take(address)
        except TooManyRequests:
            self._by_user.give_back(name)
            raise
        is_wrong = False
        try:
            is_wrong = not await self._verify(password, stored or self._nobody) or known is None
        finally:
            if not is_wrong:  # or nobody could look
                self._by_address.give_back(address)
                self._by_user.give_back(name)
        if known is None or is_wrong:
            raise _refusal("the user name or the password is wrong.")
        self._remember(self._proof(name, password), stored)
        return known

    async def _verify(self, password: str, stored: str) -> bool:
        if self._waiting >= _MAX_WAITING:
            raise Unavailable("too many logins at once; try again.")
        self._waiting += 1
        try:
            is_right: bool = await self._verifier.call(verify_password, password, stored)
            return is_right
        finally:
            self._waiting -= 1

    def _remembered_user(self, name: str, password: str) -> KnownUser | None:
        proof = self._proof(name, password)
        stored, until = self._remembered.get(proof, ("", 0.0))
        known = self._directory.users.get(name)
        if known is None or known.password != stored or self._clock.monotonic() >= until:
            return None
        self._remember(proof, stored)  # or a program that logs in all day could be kept out by who guesses at its name
        return known

    def _remember(self, proof: bytes, stored: str) -> None:
        self._remembered[proof] = (stored, self._clock.monotonic() + REMEMBERED_S)
        self._remembered.move_to_end(proof)
        if len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    def _proof(self, name: str, password: str) -> bytes:
        return hmac.digest(self._secret, f"{name}\0{password}".encode(), "sha256")


def _right_token(directory: Directory, text: str) -> KnownToken | None:
    presented = read_token(text)
    known = directory.tokens.get(presented.token_id) if presented else None
    is_right = presented and known and is_same_secret(presented.digest, known.digest)
    return known if is_right else None


def _decode_basic(credentials: str) -> tuple[str, str]:
    try:
        name, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise _refusal("the Authorization header is not that of basic authentication.")
    return name, password


def _refusal(message: str) -> Unauthenticated:
    return Unauthenticated(
        message,
        hint="set MLFLOW_TRACKING_TOKEN; for mlflow also MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD will do",
    )
