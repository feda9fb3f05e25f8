"""What `elilo.conf` means: stanzas that `image=` opens, options before the first of them hold for all.

Source of the rules: elilo's own documentation (docs/elilo.txt).
"""

from __future__ import annotations

import re
from functools import partial

from fsdrivers.light import dataclass, field
from grammars.elilo import parse
from grammars.fields import Field
from pvboot.grub_errors import quoted, shorten
from pvboot.menu.dialects import MenuContext
from pvboot.menu.guest_paths import from_directory
from pvboot.menu.model import BootFiles, Entry, Menu, MenuWarning

DIALECT = "elilo"
ENTRY_LIMIT = 2000

_PER_IMAGE = frozenset(("append", "initrd", "root", "read-only", "read-write", "literal", "vmm"))
_WITHOUT_MEANING = frozenset(
    "alias alternate-image alt_check boot chooser compact default delay description fX force-change install lba32 "
    "linux-map loader map message noedd noedd30 prompt relocatable retry secure timeout verbose "
    "vga fpswa f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 text optional other table nocow bitmap".lower().split()
)


@dataclass(slots=True)
class _Image:
    """A stanza while it is read."""

    opening: Field
    label: str = ""
    options: dict[str, str] = field(default_factory=dict)


def build(data: bytes, context: MenuContext) -> Menu:
    """The menu in `data`; never fails for what the bytes say."""
    warnings: list[MenuWarning] = []
    common: dict[str, str] = {}
    settings: dict[str, Field] = {}
    images: list[_Image] = []
    image: _Image | None = None
    is_other = False  # inside `other=`, which is no Linux
    tree = parse(data, context.name)
    for option in tree.fields:
        if option.key in ("image", "other"):
            is_other = option.key == "other"
            image = _Image(option)
            if not is_other:
                images.append(image)
        elif option.key == "label" and image is not None:
            image.label = option.value
        elif option.key in _PER_IMAGE:
            _set(image.options if image is not None else common, option)
        elif option.key in ("default", "timeout", "delay") and image is None:
            settings[option.key] = option
        elif option.key not in _WITHOUT_MEANING and not is_other:
            message = f"unknown option {quoted(option.key)} is skipped"
            warnings.append(MenuWarning(message, option.span, "unknown-command", option.key))
    if not tree.complete:
        warnings.append(MenuWarning(f"{context.name}: {tree.limit}"))
    entries = tuple(_entry(context, index, image, common) for index, image in enumerate(images[:ENTRY_LIMIT]))
    default = _default(settings.get("default"), entries, warnings)
    timeout = _seconds(settings.get("timeout") or settings.get("delay"), warnings)
    return context.menu(DIALECT, entries, warnings, default=default, timeout=timeout)


def _set(options: dict[str, str], option: Field) -> None:
    if option.key.startswith("read-"):
        options["mode"] = "ro" if option.key == "read-only" else "rw"
    else:
        options[option.key] = option.value


def _entry(context: MenuContext, index: int, image: _Image, common: dict[str, str]) -> Entry:
    name = image.opening.value
    label = image.label or name.replace("\\", "/").rpartition("/")[2] or name
    files = partial(_files, context, name, {**common, **image.options})
    return Entry(index, label, (), image.opening.span, label, files=files)


def _files(context: MenuContext, image: str, options: dict[str, str]) -> BootFiles:
    folder = context.path.rpartition("/")[0] or "/"

    def place(name: str) -> str:
        return from_directory(context.devices, context.device, folder, name.replace("\\", "/"))

    initrd = options.get("initrd", "")
    return BootFiles(
        place(image) if image else None, _cmdline(options), (place(initrd),) if initrd else (), root=context.volume
    )


def _cmdline(options: dict[str, str]) -> str:
    """Root device, mode, then `append`; with `vmm` what stands before `--` is Xen's.  `literal` is all there is."""
    if "literal" in options:
        return options["literal"]
    append = options.get("append", "")
    if "vmm" in options:
        parts = re.split(r"(?:^|\s)--(?:\s|$)", append, maxsplit=1)
        append = parts[-1]
    root = f"root={options['root']}" if options.get("root") else ""
    return " ".join(part for part in (root, options.get("mode", ""), append.strip()) if part)


def _default(option: Field | None, entries: tuple[Entry, ...], warnings: list[MenuWarning]) -> int:
    if option is None:
        return 0
    for entry in entries:
        if entry.title == option.value:
            return entry.index
    warnings.append(MenuWarning(f"no image is labelled {shorten(option.value)!r}", option.span, "default"))
    return 0


def _seconds(option: Field | None, warnings: list[MenuWarning]) -> int | None:
    """Tenths of seconds, rounded up; none or 0 waits for ever."""
    if option is None:
        return None
    if not re.fullmatch(r"\d{1,9}", option.value, re.ASCII):
        warnings.append(MenuWarning(f"{option.key} {shorten(option.value)!r} is not a number", option.span, "number"))
        return None
    return -(-int(option.value) // 10) or None
