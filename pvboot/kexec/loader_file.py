"""A running loader described by a JSON file: the input of `pvboot plan --loader`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pvboot.errors import PlanError
from pvboot.kexec.source import AddressSpace, LoaderTable, SourceDomain
from pvboot.xen.paging import levels_of, va_mask

if TYPE_CHECKING:
    from pvboot.kexec.pagetables import FrameArray

MAX_ITEMS = 1 << 20
MAX_PORTS = 1 << 17  # of the FIFO interface, the larger of Xen's two


def parse_loader(data: Any, *, width: int, p2m: FrameArray, shared_info_mfn: int) -> SourceDomain:
    """Read the description of the loader's domain.

    `data` is the parsed JSON, `p2m` uint64[nr_pages] of the running domain.  Keys: `busy` (list of [pfn, pages]),
    `console_pfn`, `xenstore_pfn`, `trampoline_pfn`, `root_pfn` (the loader's top page table), and optionally
    `console_port`, `store_port`, `tables` (list of {level, va, pfn}) with `aliases` (list of [pfn, machine address of
    the L1 entry]).  Numbers may be "0x..." strings.  docs/reference/kexec-plan.md is for users.
    Raises `PlanError` for anything else.
    """
    import numpy as np

    console_port, store_port = loader_ports(data)
    nr_pages = len(p2m)
    busy = np.zeros(nr_pages, dtype=np.bool_)
    for item in _items(data, "busy"):
        pfn, pages = _pair(item, "busy")
        if pages < 0 or not 0 <= pfn <= nr_pages - pages:
            inside = f"within {nr_pages} pages"
            raise PlanError("a busy range lies outside the domain", expected=inside, found=f"{item}")
        busy[pfn : pfn + pages] = True
    pfns = {key: _pfn(data, key, nr_pages) for key in ("console_pfn", "xenstore_pfn", "trampoline_pfn", "root_pfn")}
    table_pfns = [_pfn(item, "pfn", nr_pages) for item in _table_items(data, width)]
    busy[[*pfns.values(), *table_pfns]] = True
    return SourceDomain(
        width=width,
        p2m=p2m,
        busy=busy,
        shared_info_mfn=shared_info_mfn,
        console_pfn=pfns["console_pfn"],
        xenstore_pfn=pfns["xenstore_pfn"],
        trampoline_pfn=pfns["trampoline_pfn"],
        root_mfn=int(p2m[pfns["root_pfn"]]),
        address_space=_address_space(data, width, p2m),
        console_port=console_port,
        store_port=store_port,
    )


def loader_ports(data: Any) -> tuple[int, int]:
    """Event-channel ports of console and xenstore (2 and 1 unless given); the domain to come keeps them.

    Raises `PlanError` for ports that no event channel has.
    """
    if not isinstance(data, dict):
        raise PlanError("the loader description is not a JSON object", found=type(data).__name__)
    return _port(data, "console_port", 2), _port(data, "store_port", 1)


def _port(data: dict[str, Any], key: str, usual: int) -> int:
    port = _number(data.get(key, usual), key)
    if not 0 < port < MAX_PORTS:
        raise PlanError(f"'{key}' is not an event channel", expected=f"1..{MAX_PORTS - 1}", found=str(port))
    return port


def _table_items(data: dict[str, Any], width: int) -> list[dict[str, Any]]:
    """The items of `tables`, each complete and of a level below the top one."""
    items = _items(data, "tables")
    lower = range(1, levels_of(width))
    for item in items:
        if not isinstance(item, dict) or not {"level", "va", "pfn"} <= item.keys():
            raise PlanError("a loader table is incomplete", expected="level, va and pfn", found=f"{item}")
        if _number(item["level"], "level") not in lower:
            raise PlanError("impossible level of a loader table", expected=f"1..{lower[-1]}", found=f"{item}")
    return items


def _address_space(data: dict[str, Any], width: int, p2m: FrameArray) -> AddressSpace | None:
    import numpy as np

    if "tables" not in data:
        return None
    tables = []
    for item in _table_items(data, width):
        va = _number(item["va"], "va") & va_mask(width)
        tables.append(LoaderTable(_number(item["level"], "level"), va, int(p2m[_pfn(item, "pfn", len(p2m))])))
    aliases = np.zeros(len(p2m), dtype=np.uint64)
    for item in _items(data, "aliases"):
        pfn, ptr = _pair(item, "aliases")
        if not 0 <= pfn < len(p2m) or not 0 < ptr < 1 << 52 or ptr % 8:
            raise PlanError("an alias is impossible", expected="[pfn, machine address of an entry]", found=f"{item}")
        aliases[pfn] = ptr
    return AddressSpace(tuple(tables), aliases)


def _items(data: dict[str, Any], key: str) -> list[Any]:
    items = data.get(key, [])
    if not isinstance(items, list) or len(items) > MAX_ITEMS:
        raise PlanError(f"'{key}' of the loader description is not a list of at most {MAX_ITEMS} items")
    return items


def _pair(item: Any, key: str) -> tuple[int, int]:
    if not isinstance(item, list) or len(item) != 2:
        raise PlanError(f"an item of '{key}' is not a pair", found=f"{item}")
    return _number(item[0], key), _number(item[1], key)


def _pfn(data: dict[str, Any], key: str, nr_pages: int) -> int:
    if key not in data:
        raise PlanError(f"the loader description lacks '{key}'")
    pfn = _number(data[key], key)
    if not 0 <= pfn < nr_pages:
        raise PlanError(f"'{key}' lies outside the domain", expected=f"0..{nr_pages - 1}", found=str(pfn))
    return pfn


def _number(value: Any, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PlanError(f"'{key}' is not a number", found=f"{value!r}")
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError as err:
        raise PlanError(f"'{key}' is not a number", found=f"{value!r}") from err
    if not -1 << 63 <= number < 1 << 64:  # Python cannot even print a number of any length
        raise PlanError(f"'{key}' is out of range", expected="a number of 64 bits")
    return number
