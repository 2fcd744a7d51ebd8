"""Requests without the SDK's ceremony, which takes several times as long as the request itself.

The first request of a client goes the SDK's way and shows where the SDK sends it and how it signs.
Guaranteed: whatever does not go smoothly here is done by the SDK, with the same request: a broken
connection, an answer that cannot be read, what S3 refuses. So these requests must be harmless when
repeated, which their conditions and keys see to. DynamoDB's errors are raised as the SDK's
ClientError. Behind a proxy, or without credentials, the SDK does everything.
"""

import hashlib
import hmac
import json
import re
import select
import socket
import ssl
import threading
import weakref
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.awsrequest import AWSPreparedRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError
from botocore.utils import get_environ_proxies

DYNAMODB = {
    "batch_get_item": "BatchGetItem",
    "query": "Query",
    "transact_write_items": "TransactWriteItems",
    "update_item": "UpdateItem",
}
"""The operations that are worth it: those of each item."""

REFUSALS = 3
"""Objects in a row that S3 refused before only the SDK is used: it knows of other regions, of
buckets that ask for more, and so on."""

QUICK_BODY = 1 << 20
"""Bytes of an object beyond which the SDK's ceremony does not matter."""


_SCOPE = re.compile(r"Credential=[^/]+/\d+/([^/]+)/(dynamodb|s3)/aws4_request")


@dataclass(frozen=True, slots=True)
class Access:
    """What the SDK's session knows.

    credentials: gives them, read anew as needed. certificates: the file of trusted authorities.
    """

    credentials: Callable[[], ReadOnlyCredentials]
    certificates: str | None
    connect_seconds: float
    read_seconds: float


@dataclass(frozen=True, slots=True)
class Way:
    """Where the SDK sent a request, and what for it signed it."""

    url: str
    region: str
    service: str


def way(request: AWSPreparedRequest) -> Way | None:
    """The way of a request; None where there is a proxy on it, or another kind of signature."""
    authorization: Any = request.headers.get("Authorization", "")
    if isinstance(authorization, bytes):
        authorization = authorization.decode("latin-1")
    scope = _SCOPE.search(authorization)
    url = request.url.partition("?")[0]
    if not scope or urlsplit(url).scheme in get_environ_proxies(url):
        return None
    return Way(url, scope[1], scope[2])


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Broken(Exception):
    """There is no answer, or none that can be read."""


class Wire:
    """Signed requests that all go one way, over a connection that each thread keeps."""

    def __init__(self, way: Way, access: Access) -> None:
        self._access = access
        self._address = urlsplit(way.url)
        self._here = threading.local()
        self._connections: list[HTTPConnection] = []
        weakref.finalize(self, _close, self._connections)
        self._context: ssl.SSLContext | None = None
        self._signer = Signer(way.service, way.region)

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """One request. path: percent-encoded. headers: in lower case. Raises Broken."""
        headers["host"] = self._address.netloc
        now = datetime.now(timezone.utc)
        credentials = self._access.credentials()
        signed = self._signer.sign(method, path, headers, body, credentials, now)
        connection = self._connection()
        try:
            connection.request(method, path, body, signed)
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            connection.close()
            raise Broken(str(error)) from error
        named = {name.lower(): value for name, value in response.getheaders()}
        checksum = named.get("x-amz-crc32")
        if checksum and int(checksum) != zlib.crc32(content):
            raise Broken("the answer's checksum is wrong")
        return Answer(response.status, named, content)

    def _connection(self) -> HTTPConnection:
        """This thread's connection, connected. Raises Broken."""
        connection: HTTPConnection | None = getattr(self._here, "connection", None)
        if connection is None:
            connection = self._here.connection = self._new_connection()
            self._connections.append(connection)
        if connection.sock and _readable(connection.sock):
            # Nothing was asked, so it is the other side that closed it
            connection.close()
        if not connection.sock:
            self._connect(connection)
        return connection

    def _connect(self, connection: HTTPConnection) -> None:
        try:
            connection.connect()
        except OSError as error:
            raise Broken(str(error)) from error
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.sock.settimeout(self._access.read_seconds)

    def _new_connection(self) -> HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        seconds = self._access.connect_seconds
        if self._address.scheme == "http":
            return HTTPConnection(host, port, timeout=seconds)
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self._access.certificates)
        return HTTPSConnection(host, port, timeout=seconds, context=self._context)


def _close(connections: Sequence[HTTPConnection]) -> None:
    for connection in connections:
        connection.close()


def _readable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


class Signer:
    """AWS's Signature Version 4, for requests without a query string."""

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._keys: dict[tuple[str, str], bytes] = {}

    def sign(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        credentials: ReadOnlyCredentials,
        now: datetime,
    ) -> dict[str, str]:
        """The headers with those that sign them."""
        date = now.strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(body).hexdigest()
        signed = {**headers, "x-amz-date": date, "x-amz-content-sha256": digest}
        if credentials.token:
            signed["x-amz-security-token"] = credentials.token
        names = sorted(signed)
        canonical = "".join(f"{name}:{signed[name]}\n" for name in names)
        listed = ";".join(names)
        request = f"{method}\n{path}\n\n{canonical}\n{listed}\n{digest}"
        scope = f"{date[:8]}/{self._region}/{self._service}/aws4_request"
        hashed = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}"
        key = self._key(str(credentials.secret_key), date[:8])
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={listed}, Signature={signature}"
        )
        return signed

    def _key(self, secret: str, day: str) -> bytes:
        """The key of that day."""
        key = self._keys.get((secret, day))
        if key is None:
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._keys = {(secret, day): key}
        return key


class QuickDynamoDB:
    """The SDK's client, with shorter ways for the requests of each item."""

    def __init__(self, client: Any, access: Access) -> None:
        self._client = client
        self._access = access
        self._wire: Wire | None = None
        for method, operation in DYNAMODB.items():
            setattr(self, method, self._quick(method, operation))
        client.meta.events.register("before-send.dynamodb", self._learn)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def _learn(self, request: AWSPreparedRequest, **_: object) -> None:
        if self._wire is None and (found := way(request)):
            self._wire = Wire(found, self._access)

    def _quick(self, method: str, operation: str) -> Callable[..., Mapping[str, Any]]:
        headers = {
            "content-type": "application/x-amz-json-1.0",
            "user-agent": self._client.meta.config.user_agent,
            "x-amz-target": f"DynamoDB_20120810.{operation}",
        }

        def slow(**request: Any) -> Mapping[str, Any]:
            answer: Mapping[str, Any] = getattr(self._client, method)(**request)
            return answer

        def send(**request: Any) -> Mapping[str, Any]:
            if self._wire is None:
                return slow(**request)
            try:
                answer = self._wire.send("POST", "/", {**headers}, json.dumps(request).encode())
                content = json.loads(answer.body) if answer.status == 200 else None
            except (Broken, ValueError):
                return slow(**request)
            if content is None:
                raise _refusal(answer, operation)
            return {**content, "ResponseMetadata": _metadata(answer)}

        send.__name__ = method
        return send


def _metadata(answer: Answer) -> dict[str, Any]:
    return {"HTTPStatusCode": answer.status, "HTTPHeaders": answer.headers}


def _refusal(answer: Answer, operation: str) -> ClientError:
    """DynamoDB's error as the SDK says it."""
    try:
        content = json.loads(answer.body)
    except ValueError:
        # Something on the way answered, and not DynamoDB
        content = {}
    said: Any = {
        **content,
        "Error": {
            "Code": content.get("__type", str(answer.status)).rpartition("#")[2],
            "Message": content.get("message") or content.get("Message", ""),
        },
        "ResponseMetadata": _metadata(answer),
    }
    return ClientError(said, operation)


class QuickS3:
    """The SDK's client, with a shorter way for small objects of one bucket, that of the first."""

    def __init__(self, client: Any, access: Access) -> None:
        self._client = client
        self._access = access
        self._way: Way | None = None
        self._bucket: str | None = None
        self._folder = ""
        self._wire: Wire | None = None
        self._refusals = 0
        client.meta.events.register("before-send.s3.PutObject", self._learn)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **request: Any) -> Mapping[str, Any]:
        """As the SDK's."""
        body = request["Body"]
        wire = self._wire if request["Bucket"] == self._bucket else None
        if wire is None or len(body) > QUICK_BODY or self._refusals >= REFUSALS:
            return self._slow(request)
        checksum = b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
        headers = {
            "content-type": request["ContentType"],
            "user-agent": self._client.meta.config.user_agent,
            "x-amz-checksum-crc32": checksum,
        }
        try:
            answer = wire.send("PUT", self._folder + _path(request["Key"]), headers, body)
        except Broken:
            return self._slow(request)
        if answer.status >= 300:
            self._refusals += 1
            return self._slow(request)
        self._refusals = 0
        return {"ResponseMetadata": _metadata(answer)}

    def _slow(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._client.put_object(**request)
        path = urlsplit(self._way.url).path if self._way else ""
        if self._wire is None and self._way and path.endswith(_path(request["Key"])):
            self._bucket = request["Bucket"]
            self._folder = path.removesuffix(_path(request["Key"]))
            self._wire = Wire(self._way, self._access)
        return answer

    def _learn(self, request: AWSPreparedRequest, **_: object) -> None:
        self._way = way(request)


def _path(key: str) -> str:
    return "/" + quote(key, safe="/~")
