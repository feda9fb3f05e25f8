"""The xenstore tree: nodes with permissions, quotas, transactions.  Paths here are absolute and already checked.

One guest (domain 1) and the toolstack (domain 0) are the only parties, as seen from inside the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

GUEST_DOMAIN = 1
NODES_MAX = 1000
VALUE_BYTES_MAX = 2048
TRANSACTIONS_MAX = 10
# Below /local/domain/N, owned by the guest from the start.
GUEST_WRITABLE = (
    "control/shutdown",
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
    "control/sysrq",
    "device/suspend/event-channel",
    "data",
    "drivers",
    "feature",
    "attr",
    "error",
)


class StoreError(Exception):
    """A request the store answers with an error; `name` is the errno name sent to the guest."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True)
class Node:
    """A node's value and permissions ("n0", "r1" ...; the first names the owner); `version` changes with each write."""

    value: bytes
    permissions: tuple[str, ...]
    version: int = 0


@dataclass(slots=True)
class Transaction:
    """A private copy of the tree, with the node versions it has relied on and the paths it has changed."""

    nodes: dict[str, Node]
    relied_on: dict[str, int] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)  # in order, as a set


def parent(path: str) -> str:
    """The path one level up."""
    return path.rsplit("/", 1)[0] or "/"


class Store:
    """The tree.  Every operation takes the transaction number (0: none); errors are StoreError."""

    def __init__(self) -> None:
        self._nodes = {"/": Node(b"", ("n0",))}
        self._version = 0
        self._transactions: dict[int, Transaction] = {}
        self._next_transaction = 1

    # --- the toolstack's side

    def preset(self, path: str, value: str | bytes = b"", permissions: tuple[str, ...] | None = None) -> None:
        """Write a node as domain 0; parents are made as needed and permissions inherited unless given."""
        data = value.encode() if isinstance(value, str) else value
        if path != "/" and parent(path) not in self._nodes:
            self.preset(parent(path))
        inherited = permissions or (self._nodes[parent(path)].permissions if path != "/" else ("n0",))
        self._version += 1
        self._nodes[path] = Node(data, inherited, self._version)

    # --- transactions

    def start(self) -> int:
        """Open a transaction; its number."""
        if len(self._transactions) >= TRANSACTIONS_MAX:
            raise StoreError("ENOSPC")
        number = self._next_transaction
        self._next_transaction = number % 0x7FFFFFFF + 1
        self._transactions[number] = Transaction(dict(self._nodes))
        return number

    def end(self, number: int, *, commit: bool) -> list[str]:
        """Close a transaction; the changed paths if it was committed, EAGAIN if the tree moved underneath it."""
        transaction = self._transactions.pop(number, None)
        if transaction is None:
            raise StoreError("ENOENT")
        if not commit:
            return []
        for path, version in transaction.relied_on.items():
            current = self._nodes.get(path)
            if (current.version if current else -1) != version:
                raise StoreError("EAGAIN")
        for path in transaction.changed:
            node = transaction.nodes.get(path)
            if node is None:
                self._nodes.pop(path, None)
            else:
                self._nodes[path] = node
        return list(transaction.changed)

    def _view(self, number: int) -> tuple[dict[str, Node], Transaction | None]:
        if not number:
            return self._nodes, None
        transaction = self._transactions.get(number)
        if transaction is None:
            raise StoreError("ENOENT")
        return transaction.nodes, transaction

    def _rely(self, transaction: Transaction | None, path: str) -> None:
        if transaction is not None and path not in transaction.changed and path not in transaction.relied_on:
            node = self._nodes.get(path)
            transaction.relied_on[path] = node.version if node else -1

    # --- the guest's requests

    @staticmethod
    def _allows(node: Node, letters: str) -> bool:
        """May the guest do what one of the letters (r, w) means?  "b" is both, the first entry is the owner's."""
        if node.permissions[0][1:] == str(GUEST_DOMAIN):
            return True
        granted = node.permissions[0][0]  # for everybody not named
        for entry in node.permissions[1:]:
            if entry[1:] == str(GUEST_DOMAIN):
                granted = entry[0]
        return granted == "b" or granted in letters

    def _find(self, path: str, number: int, letters: str) -> Node:
        nodes, transaction = self._view(number)
        self._rely(transaction, path)
        node = nodes.get(path)
        if node is None:
            # What does not exist is reported only to those who may look at the parent.
            ancestor = parent(path)
            while ancestor not in nodes:
                ancestor = parent(ancestor)
            raise StoreError("ENOENT" if self._allows(nodes[ancestor], letters) else "EACCES")
        if not self._allows(node, letters):
            raise StoreError("EACCES")
        return node

    def read(self, path: str, number: int = 0) -> bytes:
        """The value of a node."""
        return self._find(path, number, "r").value

    def permissions(self, path: str, number: int = 0) -> tuple[str, ...]:
        """The permissions of a node."""
        return self._find(path, number, "r").permissions

    def directory(self, path: str, number: int = 0) -> list[str]:
        """Names of a node's children."""
        self._find(path, number, "r")
        nodes = self._view(number)[0]
        prefix = path.rstrip("/") + "/"
        names = (node[len(prefix) :] for node in nodes if node.startswith(prefix) and node != "/")
        return sorted(name for name in names if name and "/" not in name)

    def _put(self, path: str, node: Node, number: int) -> None:
        nodes, transaction = self._view(number)
        self._version += 1
        nodes[path] = replace(node, version=self._version)
        if transaction is not None:
            transaction.changed[path] = None

    def _create(self, path: str, value: bytes, number: int) -> list[str]:
        """Make a node and its missing parents; the guest must be allowed to write the nearest existing one."""
        nodes, transaction = self._view(number)
        missing = [path]
        while parent(missing[-1]) not in nodes:
            missing.append(parent(missing[-1]))
        base = nodes[parent(missing[-1])]
        self._rely(transaction, missing[-1])
        if not self._allows(base, "w"):
            raise StoreError("EACCES")
        if len(nodes) + len(missing) > NODES_MAX:
            raise StoreError("ENOSPC")
        # A new node belongs to its maker and inherits everything else.
        permissions = (base.permissions[0][0] + str(GUEST_DOMAIN), *base.permissions[1:])
        for new in reversed(missing):
            self._put(new, Node(value if new == path else b"", permissions), number)
        return list(reversed(missing))

    def write(self, path: str, value: bytes, number: int = 0) -> list[str]:
        """Set a value, creating the node; the changed paths (empty inside a transaction)."""
        if len(value) > VALUE_BYTES_MAX:
            raise StoreError("ENOSPC")
        nodes = self._view(number)[0]
        if path not in nodes:
            changed = self._create(path, value, number)
        else:
            node = self._find(path, number, "w")
            self._put(path, replace(node, value=value), number)
            changed = [path]
        return [] if number else changed

    def mkdir(self, path: str, number: int = 0) -> list[str]:
        """Create an empty node; nothing happens if it exists."""
        if path in self._view(number)[0]:
            self._find(path, number, "w")
            return []
        changed = self._create(path, b"", number)
        return [] if number else changed

    def remove(self, path: str, number: int = 0) -> list[str]:
        """Remove a node and all below it; ENOENT only if its parent is missing too."""
        nodes, transaction = self._view(number)
        if path == "/":
            raise StoreError("EINVAL")
        if path not in nodes:
            if parent(path) in nodes:
                return []
            raise StoreError("ENOENT")
        self._find(path, number, "w")
        doomed = [name for name in nodes if name == path or name.startswith(path + "/")]
        for name in doomed:
            del nodes[name]
            if transaction is not None:
                transaction.changed[name] = None
        self._version += 1
        return [] if number else doomed

    def set_permissions(self, path: str, permissions: tuple[str, ...], number: int = 0) -> list[str]:
        """Replace a node's permissions; only its owner may."""
        node = self._find(path, number, "w")
        if node.permissions[0][1:] != str(GUEST_DOMAIN):
            raise StoreError("EPERM")
        if permissions[0][1:] != str(GUEST_DOMAIN):
            raise StoreError("EPERM")  # giving nodes away would defeat the quota
        self._put(path, replace(node, permissions=permissions), number)
        return [] if number else [path]

    def forget_transactions(self) -> None:
        """Drop all open transactions (the guest has reconnected)."""
        self._transactions.clear()


def preset_domain(
    store: Store,
    *,
    memory_kib: int,
    store_mfn: int,
    store_port: int,
    console_mfn: int,
    console_port: int,
    name: str = "guest",
) -> None:
    """The nodes that libxl makes for a new PV domain (tools/libs/light/libxl_create.c, libxl_dom.c)."""
    domain = f"/local/domain/{GUEST_DOMAIN}"
    uuid = "00000000-0000-4000-8000-000000000001"
    readable = ("n0", f"r{GUEST_DOMAIN}")
    writable = (f"n{GUEST_DOMAIN}",)
    store.preset("/tool/xenstored", b"", ("n0",))
    store.preset(domain, b"", readable)
    for path, value in (
        ("vm", f"/vm/{uuid}"),
        ("name", name),
        ("domid", str(GUEST_DOMAIN)),
        ("cpu/0/availability", "online"),
        ("memory/static-max", str(memory_kib)),
        ("memory/target", str(memory_kib)),
        ("memory/videoram", "0"),
        ("device", ""),
        ("control", ""),
        ("control/platform-feature-multiprocessor-suspend", "1"),
        ("control/platform-feature-xs_reset_watches", "1"),
        ("store/port", str(store_port)),
        ("store/ring-ref", str(store_mfn)),
        ("console/backend", f"/local/domain/0/backend/console/{GUEST_DOMAIN}/0"),
        ("console/backend-id", "0"),
        ("console/limit", "1048576"),
        ("console/type", "xenconsoled"),
        ("console/output", "pty"),
        ("console/port", str(console_port)),
        ("console/ring-ref", str(console_mfn)),
    ):
        store.preset(f"{domain}/{path}", value)
    for path in GUEST_WRITABLE:
        store.preset(f"{domain}/{path}", "", writable)
    store.preset(f"/vm/{uuid}", b"", readable)
    store.preset(f"/vm/{uuid}/name", name)
    store.preset(f"/vm/{uuid}/uuid", uuid)
