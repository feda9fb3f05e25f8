"""Rules about kernels and their ramdisks, as a PV guest would start them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from grammars.spans import SourceSpan
from pvboot.check.api import Problem, rule
from pvboot.check.kernels import (
    Kernel,
    has_module,
    initrd_of,
    kernel_of,
    layout_of,
    lists_module,
    module_versions,
    modules_on_disk,
)
from pvboot.check.loaders import BUILDER_CODECS, GUEST_TYPES, LIBXL_ITEM_BYTES, capabilities_of, codecs_of, loader_of
from pvboot.check.rules.files import problem_at, span_of
from pvboot.errors import BootError, KernelError, KernelNotesError, NoPaeKernelError, NotPvKernelError, PvbootError
from pvboot.grub_errors import shorten
from pvboot.shell.request import encode_cmdline

if TYPE_CHECKING:
    from pvboot.check.subject import Subject
    from pvboot.kernel.image import KernelImage
    from pvboot.menu.loads import EntryLoads, NamedFile
    from pvboot.menu.model import Entry

BLKFRONT = "xen-blkfront"
_MEMORY_TEST = re.compile(r"/(memtest|mt86)[^/]*$", re.IGNORECASE)
_FOREIGN_ROOT = re.compile(r"/dev/(?:(?:sd|hd|vd)[a-z]+[0-9]*|(?:nvme[0-9]+n|mmcblk)[0-9]+(?:p[0-9]+)?)")


def booted(subject: Subject) -> Iterator[tuple[Entry, EntryLoads, NamedFile]]:
    """Yield the entries whose kernel could be opened."""
    for entry in subject.opened_entries:
        loads = subject.loads(entry)
        if loads.kernel is not None and loads.kernel.file is not None and loads.kernel.file.size:
            yield entry, loads, loads.kernel


def _images(subject: Subject) -> Iterator[tuple[Entry, EntryLoads, NamedFile, Kernel, KernelImage]]:
    for entry, loads, named in booted(subject):
        kernel = kernel_of(subject, named)
        if kernel.image is not None:
            yield entry, loads, named, kernel, kernel.image


# --- files that are not kernels for PV guests -------------------------------------------------------------

# Rule, the error that it is about (the first that fits), its summary, and what is said before the error.
_TROUBLES: tuple[tuple[str, type[PvbootError], str, str], ...] = (
    ("no-pae", NoPaeKernelError, "a 32-bit kernel without PAE", "the kernel has no PAE, which every Xen wants"),
    ("not-a-pv-kernel", NotPvKernelError, "the kernel cannot run as a PV guest", "not a kernel for PV guests"),
    (
        "inconsistent-notes",
        KernelNotesError,
        "a kernel's statements to Xen contradict each other",
        "the kernel's notes do not fit together",
    ),
    ("not-a-kernel", KernelError, "the file is not a kernel, or damaged", "not a kernel that can be started"),
    ("not-a-kernel", BootError, "", ""),
)


def _enter(rule_id: str, summary: str, what: str) -> None:
    @rule(rule_id, "error", summary, needs="kernel")
    def failed(subject: Subject) -> Iterator[Problem]:
        for entry, _loads, named in booted(subject):
            error = kernel_of(subject, named).error
            if next((rule for rule, kind, *_words in _TROUBLES if isinstance(error, kind)), None) == rule_id:
                yield problem_at(subject, entry, named, f"{what}: {error}", _severity(subject, entry, named))


def _severity(subject: Subject, entry: Entry, named: NamedFile) -> str | None:
    """Be mild with a test of a PC's memory: it is in every menu of some distributions, and no guest boots it."""
    is_memory_test = _MEMORY_TEST.search(named.name) is not None
    return "warning" if is_memory_test and entry.index not in subject.unattended else None


for _rule, _kind, _summary, _what in _TROUBLES[:-1]:
    _enter(_rule, _summary, _what)


@rule("arch-mismatch", "error", "the kernel's width is not that of the host or the loader", needs="kernel")
def arch_mismatch(subject: Subject) -> Iterator[Problem]:
    """Judged with --target arch=..."""
    target = subject.options.target
    offered = capabilities_of(target)
    if target.arch is not None:
        names = {guest_type: arch for arch, guest_type in GUEST_TYPES.items()}
        for entry, _loads, named, _kernel, image in _images(subject):
            if image.guest_type not in offered:
                message = f"a {names.get(image.guest_type, image.guest_type)} kernel, the target is {target.arch}"
                yield problem_at(subject, entry, named, message)


@rule("unsupported-compression", "error", "nobody on the way unpacks a kernel compressed like this", needs="kernel")
def unsupported_compression(subject: Subject) -> Iterator[Problem]:
    """With --target xen=... or loader=...: the codecs of that domain builder, or of GRUB 2."""
    target = subject.options.target
    known, loader = codecs_of(target), loader_of(target)
    for entry, _loads, named, _kernel, image in _images(subject):
        container, _, codec = image.container.partition("/")
        codec = codec if container == "bzImage" else "gzip" if container.endswith(".gz") else "none"
        if codec in known:
            continue
        if loader is not None and loader.codecs is not None:
            who = loader.title
        else:
            since = BUILDER_CODECS[codec]
            assert target.xen is not None and since is not None
            who = f"the domain builder of Xen {target.xen[0]}.{target.xen[1]} (since {since[0]}.{since[1]})"
        yield problem_at(subject, entry, named, f"the kernel is compressed with {codec}, unknown to {who}")


# --- what is handed over ----------------------------------------------------------------------------------


@rule("libxl-item-too-long", "error", "libxl drops a command line as long as this one", needs="files")
def libxl_item_too_long(subject: Subject) -> Iterator[Problem]:
    """A boot loader's answer to libxl has 8191 bytes at most; one byte more, and the kernel gets no arguments."""
    for entry in subject.opened_entries if subject.options.target.loader in (None, "pygrub", "pvboot") else ():
        loads = subject.loads(entry)
        length = len(b"args " + encode_cmdline(loads.cmdline))
        if loads.kernel is not None and length > LIBXL_ITEM_BYTES:
            message = f"an item of {length} bytes: libxl drops what a boot loader says in more than {LIBXL_ITEM_BYTES}"
            yield problem_at(subject, entry, loads.kernel, message)


def _argument_span(subject: Subject, entry: Entry, named: NamedFile, word: str) -> SourceSpan | None:
    """Find an argument behind the kernel's name; None if it comes from elsewhere."""
    span = span_of(subject, entry, named)
    match = re.search(rf"(?<!\S){re.escape(word)}(?!\S)", subject.line_at(span.file, span.line) or "")
    return SourceSpan(span.file, span.line, match.start() + 1, len(word)) if match else None


@rule("root-device-foreign", "warning", "root= names a disk that a PV guest does not have", needs="kernel")
def root_device_foreign(subject: Subject) -> Iterator[Problem]:
    """A PV guest's disks are xvda, xvdb ...; sda belongs to another hypervisor or to hardware."""
    for entry, loads, named, _kernel, image in _images(subject):
        if not image.guest_os.lower().startswith("linux"):
            continue
        for word in loads.cmdline.split():
            device = word.removeprefix("root=")
            if device != word and _FOREIGN_ROOT.fullmatch(device):
                meant = re.sub(r"/dev/(?:sd|hd|vd)([a-z])", r"/dev/xvd\1", device)
                hint = f", did you mean {meant}?" if meant != device else ""
                span = _argument_span(subject, entry, named, word)
                message = f"{device} is not a disk of a PV guest, they are called xvda, xvdb ...{hint}"
                problem = problem_at(subject, entry, named, message)
                yield problem if span is None else Problem(message, span, entry.index)


@rule("no-hvc-console", "note", "nothing of the kernel's is shown on Xen's console", needs="kernel")
def no_hvc_console(subject: Subject) -> Iterator[Problem]:
    """Linux writes to hvc0 when it is asked to, or when no other console is named; the first ports to Xen to xvc0."""
    for entry, loads, named, kernel, image in _images(subject):
        consoles = [word for word in loads.cmdline.split() if word.startswith("console=")]
        xens = ("console=hvc", "console=xvc") if (kernel.version or "").startswith("2.6.") else ("console=hvc",)
        if image.guest_os.lower().startswith("linux") and not any(word.startswith(xens) for word in consoles):
            named_ones = f" but {', '.join(map(shorten, consoles[:4]))}" if consoles else ""
            message = f"no console=hvc0 among the kernel's arguments{named_ones}: xl console may stay silent"
            yield problem_at(subject, entry, named, message)


@rule("does-not-fit", "error", "kernel and ramdisk do not fit into the guest's memory", needs="kernel")
def does_not_fit(subject: Subject) -> Iterator[Problem]:
    """With --memory: laid out as Xen's domain builder does it."""
    if subject.options.memory_mib is None:
        return
    for entry, _loads, named, _kernel, image in _images(subject):
        try:
            layout_of(subject, entry, image, subject.options.memory_mib)
        except PvbootError as err:
            message = f"{subject.options.memory_mib} MiB are not enough, or no domain can be laid out: {err}"
            yield problem_at(subject, entry, named, message)


# --- inside the ramdisk -----------------------------------------------------------------------------------


@rule("damaged-initrd", "error", "a ramdisk is cut or damaged", needs="kernel")
def damaged_initrd(subject: Subject) -> Iterator[Problem]:
    """Its archives are read to their end, as Linux does."""
    for entry in subject.opened_entries:
        for named in subject.loads(entry).initrds:
            found = initrd_of(subject, [named])
            if found is not None and found.problem is not None:
                yield problem_at(subject, entry, named, f"the ramdisk is damaged: {found.problem}")


@rule("initrd-without-blkfront", "error", "nothing finds the guest's disk: xen-blkfront is missing", needs="kernel")
def initrd_without_blkfront(subject: Subject) -> Iterator[Problem]:
    """Only where it is certain that the kernel has the driver as a module; else nothing is said."""
    for entry, loads, named, kernel, image in _images(subject):
        if kernel.version is None or not image.guest_os.lower().startswith("linux") or loads.modules:
            continue
        initrd = initrd_of(subject, loads.initrds) if loads.initrds else None
        if loads.initrds and (initrd is None or not initrd.complete):
            continue
        if initrd is not None and (has_module(initrd.names, BLKFRONT) or _is_builtin(initrd.kept, kernel.version)):
            continue
        on_disk = modules_on_disk(subject, kernel.version)
        if on_disk is None or not has_module(on_disk.block, BLKFRONT) or lists_module(on_disk.builtin, BLKFRONT):
            continue
        what = "the ramdisk does not hold it" if loads.initrds else "there is no ramdisk"
        message = f"{kernel.version} has {BLKFRONT} as a module (in {on_disk.path}), and {what}"
        yield problem_at(subject, entry, loads.initrds[0] if loads.initrds else named, message)


def _is_builtin(kept: dict[str, bytes], version: str) -> bool:
    return any(f"/{version}/" in path and lists_module(text, BLKFRONT) for path, text in kept.items())


@rule("module-version-mismatch", "error", "the ramdisk's modules are for another kernel", needs="kernel")
def module_version_mismatch(subject: Subject) -> Iterator[Problem]:
    """None of them can be loaded, so that a driver which is a module is missing."""
    for entry, loads, _named, kernel, _image in _images(subject):
        initrd = initrd_of(subject, loads.initrds)
        if kernel.version is None or initrd is None or not initrd.complete:
            continue
        versions = module_versions(initrd)
        if versions and kernel.version not in versions:
            listed = ", ".join(shorten(version) for version in sorted(versions)[:4])
            message = f"the ramdisk has modules for {listed}, the kernel is {kernel.version}"
            yield problem_at(subject, entry, loads.initrds[0], message)
