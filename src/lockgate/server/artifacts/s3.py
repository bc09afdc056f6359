"""Artifacts in an S3 bucket, or in what speaks its protocol.

Endpoint, region and keys come from the usual AWS environment variables, files and instance roles. An upload becomes
visible when S3 completes it: one PUT while it fits one part, a multipart upload otherwise, which is aborted when it
fails. Downloads are ranged reads that S3 refuses once the object has changed. s3fs brings connections, signing and
retries; the operations are S3's own, because paging, parts and metadata are what fsspec's common ground lacks.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from io import BytesIO
from operator import itemgetter
from typing import Any, TypeVar

from lockgate.errors import InvalidInput, LockgateError, NotFound, PayloadTooLarge, Unavailable
from lockgate.server.artifacts.downloads import attachment
from lockgate.server.artifacts.paths import is_shown, require_file, require_free, require_name, require_safe
from lockgate.server.artifacts.s3_errors import Answer, KeysRefused, naming_s3_errors
from lockgate.server.artifacts.store import (
    ArtifactFile,
    ArtifactInfo,
    ArtifactPage,
    IsFolder,
    OpenArtifact,
    Part,
    PartUrls,
)

T = TypeVar("T")

_DIGEST = "lockgate-blake3"  # the object's metadata that holds its digest
_PART = 8 << 20  # bytes held in memory for each usual upload under way; S3 wants 5 MiB at least
_LARGEST_FILE = 5 << 40  # S3's limit
_READ_AHEAD = 8 << 20
_MOST_PARTS = 10_000  # S3's limit
_PAGE = 1000  # S3's limit for one listing and one deletion
_LONGEST_KEY = 1024
# For one attempt: after about half a minute it is known that there is no answer.
_CONNECT_LIMIT_S = 5.0
_READ_LIMIT_S = 10.0
_ATTEMPTS = 3
_SLOWEST = 256 << 10  # bytes a second; nothing else ends a call whose bytes the store does not take
_COMPLETION_S = 600.0  # S3 puts large files together for minutes, and says that it is still there meanwhile
_KEYS_S = 60.0  # how often keys that are refused are read again
# What S3 says and a login page of a proxy, which answers 200 as well, does not.
_SAID = {"create_multipart_upload": "UploadId"} | dict.fromkeys(
    ("head_object", "put_object", "upload_part", "complete_multipart_upload"), "ETag"
)


class S3Artifacts:
    """`store.ArtifactStore` and `store.DirectAccess` below `prefix` of a bucket, which must exist."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        connect_limit_s: float = _CONNECT_LIMIT_S,
        read_limit_s: float = _READ_LIMIT_S,
        slowest: int = _SLOWEST,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`slowest` is how many bytes a second S3 must take and give at least."""
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._limits = {"connect_timeout": connect_limit_s, "read_timeout": read_limit_s}
        self._slowest = slowest
        self._monotonic = monotonic
        self._keys_until = monotonic()  # before that they are not read again

    @property
    def direct(self) -> "S3Artifacts":
        return self

    def begin(self, path: str, *, size_bytes: int | None = None, digest: str | None = None) -> "S3Upload":
        """A digest that is announced is kept with an object of any size, another only with one of a single part.

        Raises PayloadTooLarge for what is announced to be larger than S3's objects.
        """
        announced = size_bytes or 0
        if announced > _LARGEST_FILE:
            raise PayloadTooLarge(
                f"{path!r} is announced with {announced} bytes; S3 keeps {_LARGEST_FILE >> 40} TiB at most.",
                hint="split it",
            )
        return S3Upload(self, path, self._free_key(path), announced=announced, digest=digest)

    def open(self, path: str) -> OpenArtifact:
        key = self._key(path)
        head = self._head(path, key)
        digest = head.get("Metadata", {}).get(_DIGEST)
        info = ArtifactInfo(head["ContentLength"], head["ETag"].strip('"'), digest)
        return OpenArtifact(info, _S3Reader(self, path, key, info))

    def list(self, path: str = "", *, limit: int, token: str = "") -> ArtifactPage:
        """In the order of S3's keys; `token` is S3's own."""
        folder = require_safe(path)
        prefix = self._prefix + "".join(f"{step}/" for step in folder.parts)
        names: list[tuple[str, int | None]] = []
        while True:
            more: dict[str, Any] = {"ContinuationToken": token} if token else {}
            at_most = min(limit - len(names), _PAGE)
            try:
                answer = self.call("list_objects_v2", path, Prefix=prefix, Delimiter="/", MaxKeys=at_most, **more)
            except InvalidInput as error:
                raise InvalidInput(f"{token!r} is not a page token of this listing.") from error
            folders = answer.get("CommonPrefixes", ())
            names += [(item["Prefix"].removeprefix(prefix).rstrip("/"), None) for item in folders]
            names += [(item["Key"].removeprefix(prefix), item["Size"]) for item in answer.get("Contents", ())]
            token = answer.get("NextContinuationToken", "")
            if not token or len(names) >= limit:
                break
        names.sort(key=itemgetter(0))  # by name alone: other tools may keep a file and a folder of one name
        # An empty name is the marker that some tools leave for a folder.
        shown = ((name, size) for name, size in names if name and is_shown(folder, name))
        return ArtifactPage(tuple(ArtifactFile(str(folder / name), size) for name, size in shown), token)

    def delete(self, path: str) -> bool:
        """A folder goes a thousand objects at a time: who looks meanwhile sees what is left."""
        key = self._key(path)
        keys = [*self._keys_below(path, f"{key}/")]
        if self._ask(path, lambda filesystem: self._is_file(filesystem, key)):
            keys.append(key)
        for start in range(0, len(keys), _PAGE):
            batch = [{"Key": key} for key in keys[start : start + _PAGE]]
            answer = self.call("delete_objects", path, Delete={"Objects": batch, "Quiet": True})
            for failed in answer.get("Errors", ()):
                raise Unavailable(f"S3 did not delete {failed.get('Key')!r}: {failed.get('Message')}.")
        return bool(keys)

    def clean(self, *, before_ms: int) -> int:
        """Abort multipart uploads, ours and those of clients, that nobody has ended."""
        cleaned = 0
        more: dict[str, Any] = {}
        while True:
            answer = self.call("list_multipart_uploads", "", Prefix=self._prefix, **more)
            for upload in answer.get("Uploads", ()):
                if upload["Initiated"].timestamp() * 1000 < before_ms:
                    self.abort_upload(upload["Key"], upload["UploadId"])
                    cleaned += 1
            if not answer.get("IsTruncated"):
                return cleaned
            more = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}

    def download_url(self, path: str, *, expires_s: int) -> tuple[str, int]:
        key = self._key(path)
        size: int = self._head(path, key)["ContentLength"]
        # What somebody logged must be saved by a browser, not shown. The header is part of what is signed.
        return self._url("get_object", expires_s, Key=key, ResponseContentDisposition=attachment(key)), size

    def upload_url(self, path: str, *, expires_s: int) -> str:
        return self._url("put_object", expires_s, Key=self._free_key(path))

    def begin_parts(self, path: str, count: int, *, expires_s: int) -> PartUrls:
        if not 1 <= count <= _MOST_PARTS:
            raise InvalidInput(f"num_parts is {count}, expected 1 to {_MOST_PARTS}.", hint="use larger parts")
        key = self._free_key(path)
        upload_id: str = self.call("create_multipart_upload", path, Key=key)["UploadId"]
        urls = (
            self._url("upload_part", expires_s, Key=key, UploadId=upload_id, PartNumber=number)
            for number in range(1, count + 1)
        )
        return PartUrls(upload_id, tuple(urls))

    def complete_parts(self, path: str, upload_id: str, parts: Sequence[Part]) -> None:
        if not parts:
            raise InvalidInput("an upload has at least one part.")
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in sorted(parts)]
        try:
            self.complete_upload(path, self._key(path), upload_id, listed)
        except NotFound as error:
            raise NotFound(f"there is no upload {upload_id!r} for {path!r}.") from error

    def abort_parts(self, path: str, upload_id: str) -> None:
        self.abort_upload(self._key(path), upload_id)

    def call(
        self,
        operation: str,
        path: str,
        *,
        more_s: float = 0.0,
        **arguments: Any,  # botocore's operations have no types
    ) -> Answer:
        """One operation of S3 on our bucket, which may take `more_s` more than another. Raises the LockgateError for
        what S3 says.
        """

        def ask(filesystem: Any) -> Awaitable[Answer]:  # s3fs has no type annotations
            answer: Awaitable[Answer] = filesystem._call_s3(operation, Bucket=self._bucket, **arguments)
            return answer

        answer = self._ask(path, ask, more_s=more_s + len(arguments.get("Body", b"")) / self._slowest)
        if _SAID.get(operation, "ResponseMetadata") not in answer:
            raise Unavailable(
                f"what answers for S3 at {path!r} in the bucket {self._bucket!r} does not say what S3 says.",
                hint="look at AWS_ENDPOINT_URL, and at the proxies on the way there",
            )
        return answer

    def read(self, path: str, key: str, start: int, end: int, etag: str) -> bytes:
        """The bytes from `start` up to `end`. Raises Replaced where the object is no longer the one of `etag`."""

        async def fetch(filesystem: Any) -> bytes:  # s3fs has no type annotations
            wanted = {"Range": f"bytes={start}-{end - 1}", "IfMatch": f'"{etag}"'}
            answer = await filesystem._call_s3("get_object", Bucket=self._bucket, Key=key, **wanted)
            async with answer["Body"] as body:
                data: bytes = await body.read()
            return data

        data = self._ask(path, fetch, more_s=(end - start) / self._slowest)
        if len(data) != end - start:
            raise Unavailable(f"S3 gave {len(data)} of the {end - start} bytes of {path!r} that were asked for.")
        return data

    def complete_upload(self, path: str, key: str, upload_id: str, parts: Sequence[Mapping[str, Any]]) -> str:
        """Make the file visible; its ETag. `parts` are what S3 has said of them."""
        try:
            answer = self.call(
                "complete_multipart_upload",
                path,
                more_s=_COMPLETION_S,
                Key=key,
                UploadId=upload_id,
                MultipartUpload={"Parts": parts},
            )
            etag: str = answer["ETag"].strip('"')
            return etag
        except (NotFound, Unavailable):
            # The answer alone may be lost, and when it is asked for again the upload forgotten.
            with suppress(LockgateError):
                if (etag := self.open(path).info.etag) == _etag_of(parts):
                    return etag
            raise

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Nothing happens where it has ended already."""
        try:
            self.call("abort_multipart_upload", key, Key=key, UploadId=upload_id)
        except NotFound:
            return

    def _key(self, path: str) -> str:
        key = self._prefix + str(require_name(path))
        if len(key.encode()) > _LONGEST_KEY:
            raise InvalidInput(f"the path {path[:200]!r}... is too long for a key of S3 ({_LONGEST_KEY} bytes).")
        return key

    def _free_key(self, path: str) -> str:
        """Where a file may be written: not below another one and not in place of a folder, as on a disk.

        S3 would keep both. It costs a request for each step, all at the same time; nothing is remembered, because other
        servers write as well.
        """
        key = self._key(path)
        above = [self._key(str(folder)) for folder in require_name(path).parents if folder.parts]

        async def look(filesystem: Any) -> "tuple[Answer, *tuple[bool, ...]]":  # s3fs has no type annotations
            inside = filesystem._call_s3("list_objects_v2", Bucket=self._bucket, Prefix=f"{key}/", MaxKeys=1)
            return tuple(await asyncio.gather(inside, *(self._is_file(filesystem, parent) for parent in above)))

        inside, *files = self._ask(path, look)
        require_free(path, is_folder=bool(inside.get("Contents")), is_below_file=any(files))
        return key

    def _head(self, path: str, key: str) -> Answer:
        """What S3 says of a file. Raises NotFound, IsFolder."""
        try:
            require_file(path)
            return self.call("head_object", path, Key=key)
        except NotFound:
            if self.call("list_objects_v2", path, Prefix=f"{key}/", MaxKeys=1).get("Contents"):
                raise IsFolder(path) from None
            raise

    async def _is_file(self, filesystem: Any, key: str) -> bool:  # s3fs has no type annotations
        try:
            await filesystem._call_s3("head_object", Bucket=self._bucket, Key=key)
        except FileNotFoundError:
            return False
        return True

    def _keys_below(self, path: str, prefix: str) -> Iterator[str]:
        more: dict[str, Any] = {}
        while True:
            answer = self.call("list_objects_v2", path, Prefix=prefix, **more)
            yield from (item["Key"] for item in answer.get("Contents", ()))
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def _url(self, operation: str, expires_s: int, **arguments: Any) -> str:  # botocore's operations have no types
        async def sign(filesystem: Any) -> str:  # not s3fs' own `url`, which reads `?versionId=` out of a name
            await filesystem.set_session()
            client = await filesystem.get_s3(self._bucket)
            wanted = {"Bucket": self._bucket, **arguments}
            url: str = await client.generate_presigned_url(operation, Params=wanted, ExpiresIn=expires_s)
            return url

        return self._ask(arguments["Key"], sign)

    def _ask(self, path: str, question: Callable[[Any], Awaitable[T]], *, more_s: float = 0.0) -> T:
        """What S3 answers to a question about `path`. Raises the LockgateError for what it says, and Unavailable where
        it takes `more_s` more than three attempts without any bytes.
        """
        from fsspec.asyn import sync

        filesystem = self._filesystem
        try:
            with naming_s3_errors(path, self._bucket):
                limit_s = _ATTEMPTS * sum(self._limits.values()) + more_s
                answer: T = sync(filesystem.loop, question, filesystem, timeout=limit_s)
                return answer
        except KeysRefused:
            if self._monotonic() >= self._keys_until:  # where they come from there may be others by now
                self._keys_until = self._monotonic() + _KEYS_S
                vars(self).pop("_filesystem", None)
            raise

    @cached_property
    def _filesystem(self) -> Any:  # s3fs has no type annotations
        """Connects, and reads the keys, at the first call."""
        import s3fs

        # Signature version 4 also for URLs: it is what every region and every other store understands.
        config = {"signature_version": "s3v4", "retries": {"total_max_attempts": _ATTEMPTS}, **self._limits}
        filesystem = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True, config_kwargs=config)
        filesystem.retries = 1  # botocore has tried again already
        return filesystem


class S3Upload:
    """`store.Upload`: a part is sent as soon as it is full, and nothing is visible before `commit`."""

    def __init__(self, store: S3Artifacts, path: str, key: str, *, announced: int, digest: str | None) -> None:
        self._store = store
        self._path = path
        self._key = key
        self._announced = announced
        self._metadata = {_DIGEST: digest} if digest else {}
        self._buffer = BytesIO()  # which gives all that it holds without a copy
        self._upload_id: str | None = None
        self._parts: list[dict[str, object]] = []
        self._sent = 0

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            room = part_bytes(self._announced, self._sent) - self._buffer.tell()
            if not room:  # and not as soon as it is full: the last part may be small, but not empty
                self._send_part()
                continue
            self._buffer.write(left[:room])
            left = left[room:]

    def commit(self, digest: str) -> ArtifactInfo:
        size = self._sent + self._buffer.tell()
        if self._upload_id is None:
            self._metadata = {_DIGEST: digest}
            answer = self._store.call(
                "put_object", self._path, Key=self._key, Body=self._taken(), Metadata=self._metadata
            )
            etag = answer["ETag"].strip('"')
        else:
            self._send_part()
            etag = self._store.complete_upload(self._path, self._key, self._upload_id, self._parts)
        return ArtifactInfo(size, etag, self._metadata.get(_DIGEST))

    def abort(self) -> None:
        self._taken()
        if self._upload_id is not None:
            self._store.abort_upload(self._key, self._upload_id)

    def _send_part(self) -> None:
        if self._upload_id is None:
            begun = self._store.call("create_multipart_upload", self._path, Key=self._key, Metadata=self._metadata)
            self._upload_id = begun["UploadId"]
        number = len(self._parts) + 1
        if number > _MOST_PARTS:
            raise PayloadTooLarge(
                f"{self._path!r} has more than {_MOST_PARTS} parts of {_PART >> 20} MiB.",
                hint="send it with a Content-Length, so that the parts can be made larger",
            )
        data = self._taken()
        answer = self._store.call(
            "upload_part", self._path, Key=self._key, UploadId=self._upload_id, PartNumber=number, Body=data
        )
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._sent += len(data)

    def _taken(self) -> bytes:
        """What has been gathered, and is not kept any longer."""
        data = self._buffer.getvalue()
        self._buffer = BytesIO()
        return data


class _S3Reader:
    """`store.Readable`: ranges of one object, read ahead."""

    def __init__(self, store: S3Artifacts, path: str, key: str, info: ArtifactInfo) -> None:
        self._store = store
        self._path = path
        self._key = key
        self._info = info
        self._at = 0
        self._window = 0  # whoever reads on gets large pieces; a short range costs no more than itself
        self._ahead = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        end = min(self._at + max(size, self._window), self._info.size_bytes)
        if not self._ahead and self._at < end:
            self._ahead = memoryview(self._store.read(self._path, self._key, self._at, end, self._info.etag))
            self._window = _READ_AHEAD
        data = bytes(self._ahead[:size])
        self._ahead = self._ahead[size:]
        self._at += len(data)
        return data

    def seek(self, offset: int, /) -> int:
        self._at, self._ahead = offset, memoryview(b"")
        return offset

    def close(self) -> None:
        self._ahead = memoryview(b"")


def part_bytes(announced: int, sent: int) -> int:
    """How much an upload gathers for its next part: so much that what it has announced fits the parts that S3 allows,
    but no more than a 500th of what has come, since anybody can announce anything.
    """
    return max(_PART, min(announced // 7_500, sent // 500))


def _etag_of(parts: Sequence[Mapping[str, Any]]) -> str:
    """The ETag that S3 gives the whole of `parts`, where theirs are MD5; no ETag otherwise."""
    try:
        digests = [bytes.fromhex(part["ETag"].strip('"')) for part in parts]
    except ValueError:
        return ""
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(parts)}"
