"""The xenstore connection of the guest: ring, messages, watches (Xen: public/io/xs_wire.h, docs/misc/xenstore.txt)."""

from __future__ import annotations

import re
from collections.abc import Callable

from pvboot.machine.memory import Memory
from pvboot.machine.rings import Ring
from pvboot.machine.xenstore_tree import GUEST_DOMAIN, Store, StoreError
from pvboot.xen import constants as xen
from pvboot.xen._formats import XSD_SOCKMSG, XenstoreRing

WATCHES_MAX = 128
# No more requests are taken while this much waits for the guest to read it.
BACKLOG_MAX = 64 << 10
OUTPUT_MAX = 4 << 20

PRIVILEGED = (xen.XS_CONTROL, xen.XS_INTRODUCE, xen.XS_RELEASE, xen.XS_RESUME, xen.XS_SET_TARGET)
PATH_PATTERN = re.compile(r"/?(?:[A-Za-z0-9@:_+-][A-Za-z0-9@:_+.,-]*/)*[A-Za-z0-9@:_+-][A-Za-z0-9@:_+.,-]*|/", re.ASCII)
PERMISSION_PATTERN = re.compile(r"[nrwb][0-9]{1,5}", re.ASCII)
DOMAIN_PATH = f"/local/domain/{GUEST_DOMAIN}"


def _text(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as err:
        raise StoreError("EINVAL") from err


def _decimal(data: bytes) -> int:
    text = _text(data)
    if not text.isdigit() or len(text) > 10:
        raise StoreError("EINVAL")
    return int(text)


def absolute_path(data: bytes) -> str:
    """A request's path made absolute; relative ones are below the domain's own directory."""
    path = _text(data)
    limit = xen.XENSTORE_ABS_PATH_MAX if path.startswith("/") else xen.XENSTORE_REL_PATH_MAX
    if not path or len(path) > limit or not PATH_PATTERN.fullmatch(path):
        raise StoreError("EINVAL")
    return path if path.startswith("/") else f"{DOMAIN_PATH}/{path}"


class XenstoreServer:
    """Answers the messages of one connection; `send` gets complete messages for the ring."""

    def __init__(self, store: Store, send: Callable[[bytes], None]) -> None:
        self._store = store
        self._send = send
        self._watches: dict[tuple[bytes, bytes], str] = {}  # (path as given, token) -> absolute path
        self._handlers: dict[int, Callable[[bytes, int], bytes | None]] = {
            xen.XS_DIRECTORY: self._directory,
            xen.XS_READ: lambda body, number: self._store.read(self._one_path(body), number),
            xen.XS_GET_PERMS: self._get_permissions,
            xen.XS_WATCH: self._watch,
            xen.XS_UNWATCH: self._unwatch,
            xen.XS_TRANSACTION_START: self._transaction_start,
            xen.XS_TRANSACTION_END: self._transaction_end,
            xen.XS_GET_DOMAIN_PATH: self._domain_path,
            xen.XS_WRITE: self._write,
            xen.XS_MKDIR: lambda body, number: self._changed(self._store.mkdir(self._one_path(body), number)),
            xen.XS_RM: lambda body, number: self._changed(self._store.remove(self._one_path(body), number)),
            xen.XS_SET_PERMS: self._set_permissions,
            xen.XS_IS_DOMAIN_INTRODUCED: self._is_introduced,
            xen.XS_RESET_WATCHES: self._reset_watches,
            xen.XS_DIRECTORY_PART: self._directory_part,
        }
        self._after: list[Callable[[], None]] = []

    def request(self, kind: int, request_id: int, transaction: int, body: bytes) -> None:
        """Answer one message, then send the watch events that it caused."""
        handler = self._handlers.get(kind)
        self._after = []
        try:
            if handler is None:
                raise StoreError("EACCES" if kind in PRIVILEGED else "ENOSYS")
            answer = handler(body, transaction)
            payload = b"OK\0" if answer is None else answer
            if len(payload) > xen.XENSTORE_PAYLOAD_MAX:
                raise StoreError("E2BIG")
        except StoreError as error:
            kind, payload = xen.XS_ERROR, error.name.encode() + b"\0"
        self._send(XSD_SOCKMSG.pack(kind, request_id, transaction, len(payload)) + payload)
        for action in self._after:
            action()

    @staticmethod
    def _one_path(body: bytes) -> str:
        path, separator, rest = body.partition(b"\0")
        if not separator or rest:
            raise StoreError("EINVAL")
        return absolute_path(path)

    def _changed(self, paths: list[str]) -> None:
        if paths:
            self._after.append(lambda: self.fire(paths))

    def fire(self, paths: list[str]) -> None:
        """Send an event to every watch at or above a changed path."""
        for path in paths:
            for (given, token), watched in list(self._watches.items()):
                if path == watched or watched == "/" or path.startswith(watched + "/"):
                    relative = not given.startswith((b"/", b"@"))
                    shown = path[len(DOMAIN_PATH) + 1 :] if relative else path
                    self._send_event(shown.encode(), token)

    def _send_event(self, path: bytes, token: bytes) -> None:
        payload = path + b"\0" + token + b"\0"
        self._send(XSD_SOCKMSG.pack(xen.XS_WATCH_EVENT, 0, 0, len(payload)) + payload)

    def _directory(self, body: bytes, number: int) -> bytes:
        return b"".join(name.encode() + b"\0" for name in self._store.directory(self._one_path(body), number))

    def _directory_part(self, body: bytes, number: int) -> bytes:
        path, _, rest = body.partition(b"\0")
        offset = _decimal(rest.rstrip(b"\0"))
        names = b"".join(n.encode() + b"\0" for n in self._store.directory(absolute_path(path), number))
        if offset > len(names):
            raise StoreError("EINVAL")
        room = xen.XENSTORE_PAYLOAD_MAX - 32
        part = names[offset : offset + room]
        return b"0\0" + part + (b"\0" if offset + len(part) >= len(names) else b"")

    def _get_permissions(self, body: bytes, number: int) -> bytes:
        entries = self._store.permissions(self._one_path(body), number)
        return b"".join(entry.encode() + b"\0" for entry in entries)

    def _set_permissions(self, body: bytes, number: int) -> None:
        path, *entries = body.rstrip(b"\0").split(b"\0")
        texts = tuple(_text(entry) for entry in entries)
        if not texts or not all(PERMISSION_PATTERN.fullmatch(text) for text in texts):
            raise StoreError("EINVAL")
        self._changed(self._store.set_permissions(absolute_path(path), texts, number))

    def _write(self, body: bytes, number: int) -> None:
        path, separator, value = body.partition(b"\0")
        if not separator:
            raise StoreError("EINVAL")
        self._changed(self._store.write(absolute_path(path), value, number))

    def _watch(self, body: bytes, number: int) -> None:
        given, token = self._watch_arguments(body)
        watched = given.decode("ascii") if given.startswith(b"@") else absolute_path(given)
        if (given, token) in self._watches:
            raise StoreError("EEXIST")
        if len(self._watches) >= WATCHES_MAX:
            raise StoreError("ENOSPC")
        self._watches[given, token] = watched
        # The protocol promises one event at once.
        self._after.append(lambda: self._send_event(given, token))

    def _unwatch(self, body: bytes, number: int) -> None:
        if self._watches.pop(self._watch_arguments(body), None) is None:
            raise StoreError("ENOENT")

    @staticmethod
    def _watch_arguments(body: bytes) -> tuple[bytes, bytes]:
        given, separator, token = body.partition(b"\0")
        if not separator or not token.endswith(b"\0") or token.count(b"\0") != 1:
            raise StoreError("EINVAL")
        if given.startswith(b"@") and given not in (b"@introduceDomain", b"@releaseDomain"):
            raise StoreError("EINVAL")
        return given, token[:-1]

    def _reset_watches(self, body: bytes, number: int) -> None:
        self._watches.clear()
        self._store.forget_transactions()

    def _transaction_start(self, body: bytes, number: int) -> bytes:
        if number:
            raise StoreError("EBUSY")
        return b"%d\0" % self._store.start()

    def _transaction_end(self, body: bytes, number: int) -> None:
        if body not in (b"T\0", b"F\0"):
            raise StoreError("EINVAL")
        self._changed(self._store.end(number, commit=body == b"T\0"))

    def _domain_path(self, body: bytes, number: int) -> bytes:
        return b"/local/domain/%d\0" % _decimal(body.rstrip(b"\0"))

    def _is_introduced(self, body: bytes, number: int) -> bytes:
        return b"T\0" if _decimal(body.rstrip(b"\0")) in (0, GUEST_DOMAIN) else b"F\0"


class XenstoreConnection:
    """The ring page.  A guest index that cannot be, or an oversized message, closes the connection."""

    def __init__(self, memory: Memory, store: Store, notify: Callable[[], None]) -> None:
        self._memory = memory
        self._notify = notify
        self._requests: Ring | None = None
        self._responses: Ring | None = None
        self._input = bytearray()
        self._output = bytearray()
        self.server = XenstoreServer(store, self._queue)
        self.broken = ""
        self.requests = 0

    def attach(self, mfn: int) -> None:
        """Serve the ring in this frame."""
        page = self._memory.page(mfn)
        self._requests = Ring(page, 0, xen.XENSTORE_RING_SIZE, XenstoreRing.req_cons)
        self._responses = Ring(page, XenstoreRing.rsp, xen.XENSTORE_RING_SIZE, XenstoreRing.rsp_cons)

    def _queue(self, message: bytes) -> None:
        if len(self._output) > OUTPUT_MAX:
            self.broken = "more unread watch events than the quota allows"
            return
        self._output += message

    def serve(self) -> None:
        """Take requests, answer them, give answers; notify the guest if anything moved."""
        if self._requests is None or self._responses is None or self.broken:
            return
        moved = self._take(self._requests)
        self._answer()
        moved = self._give(self._responses) or moved
        if moved:
            self._notify()

    def _possible(self, ring: Ring, name: str) -> bool:
        if ring.used > ring.size:
            self.broken = f"{name} ring indexes {ring.indexes}"
        return not self.broken

    def _take(self, ring: Ring) -> bool:
        if len(self._input) >= XSD_SOCKMSG.size + xen.XENSTORE_PAYLOAD_MAX or len(self._output) >= BACKLOG_MAX:
            return False
        if not self._possible(ring, "request") or not ring.used:
            return False
        self._input += ring.take()
        return True

    def _answer(self) -> None:
        while len(self._input) >= XSD_SOCKMSG.size and len(self._output) < BACKLOG_MAX:
            kind, request_id, transaction, size = XSD_SOCKMSG.unpack_from(self._input)
            if size > xen.XENSTORE_PAYLOAD_MAX:
                self.broken = f"request of {size} bytes"
                return
            if len(self._input) < XSD_SOCKMSG.size + size:
                return
            body = bytes(self._input[XSD_SOCKMSG.size : XSD_SOCKMSG.size + size])
            del self._input[: XSD_SOCKMSG.size + size]
            self.requests += 1
            self.server.request(kind, request_id, transaction, body)

    def _give(self, ring: Ring) -> bool:
        if not self._output or not self._possible(ring, "response"):
            return False
        count = ring.put(self._output)
        del self._output[:count]
        return count > 0
