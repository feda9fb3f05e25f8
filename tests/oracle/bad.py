"""158 damaged or odd kernels, ramdisks and command lines, with the outcome that Xen's builder is known to have.

"expect" is what libxenguest 4.17 was seen to do: "ok", "error" or "timeout" (it hangs).  Some of what it takes is
broken all the same (a segment whose data is missing is left zero); pvboot is free to refuse that.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.oracle.images import NOTES_OFFSET, NoteValue, TinyKernel, bzimage, compress, note, patch

Parts = Callable[[str], Path]
PHDR = 64  # file offset of a 64-bit TinyKernel's PT_LOAD header
DEFAULT_MEMORY = ("--mem", "64")
TOP = 0xFFFFFFFF80000000  # a 64-bit TinyKernel's VIRT_BASE


@dataclass(frozen=True)
class Case:
    """One input: `args` are options of the oracle, `expect` is its outcome ("ok", "error", "timeout")."""

    name: str
    what: str
    kernel: Path
    args: tuple[str, ...]
    expect: str


class _Maker:
    """Writes files into a folder and collects the cases."""

    def __init__(self, folder: Path, parts: Parts) -> None:
        self.folder = folder
        self.oracle = parts("oracle")
        self.grub64 = parts("grub-x86_64-xen.bin").read_bytes()
        self.pvh = parts("grub-i386-xen_pvh.bin")
        self.vmlinuz = parts("vmlinuz-6.1")
        self.cases: list[Case] = []
        self.tiny64 = self.file("good64.elf", TinyKernel().build())
        self.tiny32 = self.file("good32.elf", TinyKernel(32).build())

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def add(self, name: str, what: str, kernel: bytes | Path, *args: str | Path, expect: str = "error") -> None:
        path = kernel if isinstance(kernel, Path) else self.file(f"{name}.kernel", kernel)
        options = tuple(map(str, args))
        if "--mem" not in options:
            options += ("--mem", "256") if path == self.vmlinuz else DEFAULT_MEMORY
        self.cases.append(Case(name, what, path, options, expect))

    def notes(
        self, name: str, what: str, change: Mapping[str | int, NoteValue], *, expect: str = "error", bits: int = 64
    ) -> None:
        self.add(name, what, TinyKernel(bits, notes=change).build(), expect=expect)

    def guest(self, name: str, what: str, text: str, *, expect: str = "error", bits: int = 64) -> None:
        self.add(name, what, TinyKernel(bits, guest=text).build(), expect=expect)


def bad_cases(folder: Path, parts: Parts) -> list[Case]:
    """Write all inputs into `folder` (about 75 MB) and return the cases.

    `parts` gives the path of a part of `.parts/`, as the fixture of that name does.
    """
    maker = _Maker(folder, parts)
    for group in (_files, _elf, _notes, _addresses, _features, _pae, _odd_notes, _legacy, _bzimage, _gzip, _memory):
        group(maker)
    for group in (_ramdisk, _command_line, _far_addresses):
        group(maker)
    return maker.cases


def _files(make: _Maker) -> None:
    tiny = make.tiny64.read_bytes()
    folder = make.folder / "folder"
    folder.mkdir(exist_ok=True)
    make.add("missing-file", "kernel path does not exist", make.folder / "nonexistent")
    make.add("empty-file", "kernel file of 0 bytes", b"")
    make.add("one-byte", "kernel file of 1 byte", b"\x7f")
    make.add("directory", "kernel path is a directory", folder)
    make.add("text-file", "kernel is a text file", b"title Debian\n" * 100)
    make.add("zeros", "64 KiB of zeros", bytes(65536))
    make.add("elf-cut-40", "ELF64 cut at 40 bytes (inside the header)", tiny[:40])
    make.add("elf-cut-64", "ELF64 header only, no program headers", tiny[:64])
    make.add("elf-cut-phdr", "ELF64 cut inside the program headers (100 bytes)", tiny[:100])
    make.add("elf-cut-notes", "ELF64 cut in the middle of the notes", tiny[: NOTES_OFFSET + 60])
    make.add("elf-cut-seg", "ELF64 cut in the middle of its PT_LOAD", tiny[:0x1800], expect="ok")
    make.add("grub-cut-half", "GRUB 64-bit image cut in half", make.grub64[: len(make.grub64) // 2])
    make.add("grub-cut-note-kept", "GRUB 64-bit image without its last 4096 bytes", make.grub64[:-4096])


def _elf(make: _Maker) -> None:
    tiny, tiny32 = make.tiny64.read_bytes(), make.tiny32.read_bytes()
    make.add("elf-bad-magic", "ELF magic 7f 45 4c 47", patch(tiny, 3, "B", 0x47))
    make.add("elf-big-endian", "EI_DATA = 2 (big endian) on little-endian contents", patch(tiny, 5, "B", 2))
    make.add("elf-class-0", "EI_CLASS = 0", patch(tiny, 4, "B", 0))
    make.add("elf-class-32in64", "EI_CLASS = 1 on an ELF64 body", patch(tiny, 4, "B", 1))
    make.add("elf-version-0", "EI_VERSION = 0", patch(tiny, 6, "B", 0), expect="ok")
    make.add("elf-machine-arm64", "e_machine = 183 (AArch64)", patch(tiny, 18, "H", 183))
    make.add("elf-machine-386-in-64", "ELF64 with e_machine = 3 (386)", patch(tiny, 18, "H", 3), expect="ok")
    make.add("elf-machine-x64-in-32", "ELF32 with e_machine = 62 (x86-64)", patch(tiny32, 18, "H", 62), expect="ok")
    make.add("elf-type-rel", "e_type = 1 (relocatable)", patch(tiny, 16, "H", 1), expect="ok")
    make.add("elf-phnum-0", "e_phnum = 0", patch(tiny, 56, "H", 0))
    make.add("elf-phnum-65535", "e_phnum = 65535", patch(tiny, 56, "H", 65535))
    make.add("elf-phentsize-8", "e_phentsize = 8", patch(tiny, 54, "H", 8))
    make.add("elf-phoff-out", "e_phoff beyond the end of the file", patch(tiny, 32, "Q", 1 << 40))
    beyond = patch(tiny, PHDR + 8, "Q", 1 << 30)
    make.add("elf-off-out", "PT_LOAD p_offset beyond the end of the file", beyond, expect="ok")
    more = patch(tiny, PHDR + 40, "Q", 0x1000)
    make.add("elf-filesz-gt-memsz", "PT_LOAD p_filesz > p_memsz", more, expect="ok")
    make.add("elf-memsz-huge", "PT_LOAD p_memsz = 1 TiB", patch(tiny, PHDR + 40, "Q", 1 << 40))
    make.add("elf-paddr-wrap", "PT_LOAD p_paddr = 2^64 - 4096", patch(tiny, PHDR + 24, "Q", 2**64 - 4096))
    unaligned = TinyKernel(paddr=0x100123).build()
    make.add("elf-paddr-unaligned", "PT_LOAD p_paddr = 0x100123 (entry moved along)", unaligned)
    for name, what, offset, paddr in (
        ("reversed", "two PT_LOADs, the higher one first", 0x1000, 0x80000),
        ("overlap", "two PT_LOADs over the same addresses", 0x1100, 0x101000),
    ):
        second = (1, 6, offset, TOP + paddr, paddr, 0x800, 0x1000, 0x1000)
        make.add(f"elf-two-loads-{name}", what, TinyKernel(extra_phdrs=[second]).build(), expect="ok")
    make.add("elf-no-load", "no PT_LOAD at all (PT_LOAD turned into PT_NULL)", patch(tiny, PHDR, "I", 0))
    make.add("elf-base-0-low", "64-bit kernel linked at 0 with VIRT_BASE 0", TinyKernel(base=0).build(), expect="ok")


def _notes(make: _Maker) -> None:
    tiny = make.tiny64.read_bytes()
    make.add("no-notes", "no Xen notes and no __xen_guest section", TinyKernel(note_phdr=False).build())
    make.add("notes-other-vendor", 'notes present, vendor name "Lin"', tiny.replace(b"Xen\0", b"Lin\0"))
    in_section = TinyKernel(note_phdr=False, note_section=True).build()
    make.add("notes-in-section", "notes only in a SHT_NOTE section, no PT_NOTE", in_section, expect="ok")
    make.notes("no-xen-version", "XEN_VERSION note missing", {"XEN_VERSION": None})
    make.notes("xen-version-2", 'XEN_VERSION = "xen-2.0"', {"XEN_VERSION": "xen-2.0"})
    make.notes("xen-version-31", 'XEN_VERSION = "xen-3.0-foo"', {"XEN_VERSION": "xen-3.0-foo"}, expect="ok")
    make.notes("no-loader-os-other", 'LOADER missing, GUEST_OS = "tiny"', {"LOADER": None})
    linux: dict[str | int, NoteValue] = {"LOADER": None, "GUEST_OS": "linux"}
    make.notes("no-loader-os-linux", 'LOADER missing, GUEST_OS = "linux"', linux, expect="ok")
    make.notes("loader-pvgrub", 'LOADER = "pvgrub", GUEST_OS = "tiny"', {"LOADER": "pvgrub"})
    make.notes("guest-os-long", "GUEST_OS of 40 characters", {"GUEST_OS": "x" * 40}, expect="ok")


def _addresses(make: _Maker) -> None:
    add = make.notes
    add("no-entry", "ENTRY missing (e_entry is right)", {"ENTRY": None}, expect="ok")
    add("entry-low", "ENTRY one page below the kernel", {"ENTRY": TOP + 0xFF000})
    add("entry-high", "ENTRY past the kernel end", {"ENTRY": TOP + 0x106001})
    add("entry-at-end", "ENTRY exactly at the kernel end", {"ENTRY": TOP + 0x106000}, expect="ok")
    add("virt-base-high", "VIRT_BASE above the kernel start", {"VIRT_BASE": TOP + 0x200000})
    add("virt-base-missing", "VIRT_BASE missing, PADDR_OFFSET present", {"VIRT_BASE": None})
    neither: dict[str | int, NoteValue] = {"VIRT_BASE": None, "PADDR_OFFSET": None}
    add("virt-base-both-missing", "VIRT_BASE and PADDR_OFFSET missing, kernel linked high", neither)
    add("paddr-offset-only-missing", "PADDR_OFFSET missing", {"PADDR_OFFSET": None}, expect="ok")
    add("paddr-offset-base", "PADDR_OFFSET = VIRT_BASE although p_paddr is physical", {"PADDR_OFFSET": TOP})
    add("virt-base-unaligned", "VIRT_BASE = ...80000123", {"VIRT_BASE": TOP + 0x123})
    add("virt-base-lower", "VIRT_BASE 1 MiB below the linked base, PADDR_OFFSET 0", {"VIRT_BASE": TOP - 0x100000})
    add("hypercall-missing", "HYPERCALL_PAGE missing", {"HYPERCALL_PAGE": None}, expect="ok")
    add("hypercall-beyond-ram", "HYPERCALL_PAGE 1 GiB above the base, 64 MiB RAM", {"HYPERCALL_PAGE": TOP + 0x40000000})
    add("hypercall-below-base", "HYPERCALL_PAGE below VIRT_BASE", {"HYPERCALL_PAGE": TOP - 0x10000})
    add("hypercall-unaligned", "HYPERCALL_PAGE not page aligned", {"HYPERCALL_PAGE": TOP + 0x101234}, expect="ok")
    past: dict[str | int, NoteValue] = {"HYPERCALL_PAGE": TOP + 0x3000000}
    add("hypercall-unmapped-ram", "HYPERCALL_PAGE in RAM past the initial mapping", past, expect="ok")
    add("init-p2m-inside", "INIT_P2M inside the kernel", {"INIT_P2M": TOP + 0x102000})
    for name, what, address in (
        ("unaligned", "not page aligned", 0x8000000123),
        ("above", "above VIRT_BASE", TOP + 0x20000000),
        ("good", "= 512 GiB", 0x8000000000),
        ("zero", "= 0", 0),
        ("hv-hole", "= 0xffff800000000000 (hypervisor hole)", 0xFFFF800000000000),
        ("noncanonical", "= 0x0000900000000000", 0x900000000000),
        ("same-l4", "1 GiB below the kernel (same L4/L3 area)", TOP - 0x40000000),
        ("just-below", "16 MiB below VIRT_BASE", TOP - 0x1000000),
    ):
        add(f"init-p2m-{name}", f"INIT_P2M {what}", {"INIT_P2M": address}, expect="ok")
    add("init-p2m-32bit", "INIT_P2M on a 32-bit kernel", {"INIT_P2M": 0x80000000}, expect="ok", bits=32)


def _features(make: _Maker) -> None:
    for name, text, expect in (
        ("unknown-required", "!frobnicate", "error"),
        ("unknown-optional", "frobnicate", "ok"),
        ("dom0-required", "!dom0", "error"),
        ("autotrans", "!auto_translated_physmap", "error"),
    ):
        make.notes(f"feature-{name}", f'FEATURES = "{text}"', {"FEATURES": text}, expect=expect)
    what = "the caller asks for writable_descriptor_tables, the kernel does not offer it"
    make.add("feature-requested", what, make.tiny64, "--features", "writable_descriptor_tables")
    what = "the caller asks for pae_pgdir_above_4gb, the kernel offers it"
    make.add("feature-requested-ok", what, make.tiny64, "--features", "pae_pgdir_above_4gb", expect="ok")


def _pae(make: _Maker) -> None:
    make.notes("pae-no-32", '32-bit kernel, PAE_MODE = "no"', {"PAE_MODE": "no"}, bits=32)
    make.notes("pae-missing-32", "32-bit kernel, no PAE_MODE", {"PAE_MODE": None}, bits=32)
    make.notes("pae-bimodal-32", '32-bit kernel, PAE_MODE = "bimodal"', {"PAE_MODE": "bimodal"}, bits=32, expect="ok")
    what = '32-bit kernel, PAE_MODE = "yes[extended-cr3]" as a note'
    make.notes("pae-yes-ext-32", what, {"PAE_MODE": "yes[extended-cr3]"}, bits=32)
    make.notes("pae-no-64", '64-bit kernel, PAE_MODE = "no"', {"PAE_MODE": "no"}, expect="ok")
    only64, only32 = "xen-3.0-x86_64 hvm-3.0-x86_32 ", "xen-3.0-x86_32p "
    make.add("caps-no-32", "32-bit kernel, Xen offers only xen-3.0-x86_64", make.tiny32, "--xen-caps", only64)
    make.add("caps-no-64", "64-bit kernel, Xen offers only xen-3.0-x86_32p", make.tiny64, "--xen-caps", only32)
    make.add("caps-empty", "Xen offers no guest type (PV compiled out)", make.tiny64, "--xen-caps", "")


def _odd_notes(make: _Maker) -> None:
    tiny = make.tiny64.read_bytes()
    make.add("note-namesz-huge", "first note: n_namesz = 0xffffffff", patch(tiny, NOTES_OFFSET, "I", 0xFFFFFFFF))
    make.add("note-descsz-huge", "first note: n_descsz = 0xfffffff0", patch(tiny, NOTES_OFFSET + 4, "I", 0xFFFFFFF0))
    make.notes("note-desc-3", "ENTRY note with a 3-byte number", {"ENTRY": b"\1\2\3"})
    four = struct.pack("<I", 0x80100000)
    make.notes("note-desc-4-in-64", "ENTRY note with 4 bytes in a 64-bit kernel", {"ENTRY": four})
    make.notes("note-string-open", "LOADER string without its terminating NUL", {"LOADER": b"generic"}, expect="ok")
    unknown: dict[str | int, NoteValue] = {99: b"\1\0\0\0"}
    make.notes("note-unknown", "an unknown Xen note (type 99) among the good ones", unknown, expect="ok")
    many = note("Xen", 99, b"") * 70000
    crowded = patch(tiny, PHDR + 56 + 8, "Q", len(tiny))
    crowded = patch(crowded, PHDR + 56 + 32, "QQ", len(many), len(many))
    make.add("notes-70000", "70000 unknown notes", crowded + many)


def _legacy(make: _Maker) -> None:
    complete = (
        "GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,VIRT_BASE=0xffffffff80000000,ELF_PADDR_OFFSET=0x0,"
        "VIRT_ENTRY=0xffffffff80100000,HYPERCALL_PAGE=0x101,FEATURES=writable_page_tables,LOADER=generic"
    )
    make.guest("guest-section-64", "legacy __xen_guest string, 64-bit, complete", complete, expect="ok")
    no_offset = "GUEST_OS=linux,XEN_VER=xen-3.0,VIRT_BASE=0xffffffff80000000,LOADER=generic"
    what = "legacy __xen_guest without ELF_PADDR_OFFSET, p_paddr physical"
    make.guest("guest-section-no-offset", what, no_offset)
    pae = (
        "GUEST_OS=linux,XEN_VER=xen-3.0,VIRT_BASE=0xc0000000,ELF_PADDR_OFFSET=0x0,HYPERCALL_PAGE=0x101,"
        "PAE=yes,LOADER=generic"
    )
    what = "legacy __xen_guest, 32-bit, PAE=yes (L3 must move below 4 GiB)"
    make.guest("guest-section-pae", what, pae, bits=32, expect="ok")
    same = make.folder / "guest-section-pae.kernel"
    make.add("l3-no-low-frame", "the same, no free frame below 4 GiB", same, "--no-low-memory")
    old = "GUEST_OS=linux,XEN_VER=xen-2.0,VIRT_BASE=0xffffffff80000000,LOADER=generic"
    make.guest("guest-section-bad-ver", "legacy __xen_guest, XEN_VER=xen-2.0", old)
    make.guest("guest-section-empty", "legacy __xen_guest section, empty string", "")


def _bzimage(make: _Maker) -> None:
    tiny = make.tiny64.read_bytes()
    packed = {codec: compress(tiny, codec, make.oracle) for codec in ("gzip", "bzip2", "lzma", "xz", "zstd")}
    zipped = packed["gzip"]

    def add(name: str, what: str, image: bytes, expect: str = "error") -> None:
        make.add(f"bz-{name}", f"bzImage, {what}", image, expect=expect)

    add("proto-207", "boot protocol 2.07", bzimage(zipped, version=0x207))
    add("payload-off", "payload_offset beyond the file", bzimage(zipped, offset=1 << 24))
    add("payload-len", "payload_length beyond the file", bzimage(zipped, length=1 << 24))
    add("payload-empty", "payload_length 0", bzimage(zipped, length=0))
    add("uncompressed", "holding the ELF uncompressed", bzimage(tiny), "ok")
    add("unknown-magic", "unknown compression magic", bzimage(b"\xde\xad\xbe\xef" + tiny))
    add("not-elf", "payload gunzips to text", bzimage(compress(b"hello\n" * 1000, "gzip", make.oracle)))
    bare = TinyKernel(note_phdr=False).build()
    add("no-notes", "payload is an ELF without notes", bzimage(compress(bare, "gzip", make.oracle)))
    add("gzip-cut", "gzip payload cut in half", bzimage(zipped[: len(zipped) // 2]))
    add("gzip-crc", "gzip payload with a wrong CRC", bzimage(patch(zipped, len(zipped) - 8, "I", 0)))
    add("gzip-isize-small", "gzip ISIZE too small", bzimage(patch(zipped, len(zipped) - 4, "I", 100)))
    add("gzip-isize-2g", "gzip ISIZE = 2 GiB", bzimage(patch(zipped, len(zipped) - 4, "I", 1 << 31)))
    for codec in ("bzip2", "lzma", "xz", "zstd"):
        payload = packed[codec]
        middle = len(payload) // 2
        flipped = bytearray(payload)
        flipped[middle : middle + 8] = bytes(byte ^ 0x5A for byte in payload[middle : middle + 8])
        add(f"{codec}-cut", f"{codec} payload cut in half", bzimage(payload[:middle]))
        add(f"{codec}-corrupt", f"{codec} payload with 8 flipped bytes", bzimage(bytes(flipped)))
    add("zstd-nosize", "zstd payload without the trailing length word", bzimage(packed["zstd"][:-4]))
    make.add("bz-short", "bzImage cut inside the setup header", bzimage(zipped)[:0x230])
    make.add("vmlinuz-cut", "Debian vmlinuz cut at 4 MiB", make.vmlinuz.read_bytes()[: 4 << 20])


def _gzip(make: _Maker) -> None:
    zipped = gzip.compress(make.tiny64.read_bytes(), mtime=0)
    make.add("gz-elf", "plain ELF, gzipped as a file", zipped, expect="ok")
    make.add("gz-elf-cut", "plain ELF gzipped, cut by 100 bytes", zipped[:-100])
    make.add("gz-elf-bomb", "gzip header with ISIZE 3 GiB", patch(zipped, len(zipped) - 4, "I", 3 << 30))


def _memory(make: _Maker) -> None:
    for mib in (0, 1, 2, 3, 4, 5, 8):
        what = f"tiny 64-bit kernel (at 1 MiB), memory = {mib} MiB"
        make.add(f"mem-{mib}", what, make.tiny64, "--mem", str(mib), expect="error" if mib < 4 else "ok")
    for mib, expect in ((64, "error"), (76, "error"), (77, "ok")):
        make.add(f"mem-{mib}-linux", f"Debian 6.1 with {mib} MiB", make.vmlinuz, "--mem", str(mib), expect=expect)


def _ramdisk(make: _Maker) -> None:
    big = make.file("rd64m", b"\x5a" * (64 << 20))

    def add(name: str, what: str, ramdisk: Path, *args: str, expect: str = "error", kernel: Path = make.tiny64) -> None:
        make.add(f"rd-{name}", what, kernel, "--ramdisk", ramdisk, *args, expect=expect)

    add("missing", "ramdisk path does not exist", make.folder / "nope")
    add("empty", "ramdisk of 0 bytes", make.file("rd0", b""))
    add("one-byte", "ramdisk of 1 byte", make.file("rd1", b"x"), expect="ok")
    add("larger", "64 MiB ramdisk, 32 MiB memory", big, "--mem", "32")
    add("barely", "64 MiB ramdisk, 68 MiB memory", big, "--mem", "68", expect="ok")
    add("fits", "64 MiB ramdisk, 72 MiB memory", big, "--mem", "72", expect="ok")
    what = "Debian 6.1, 64 MiB ramdisk, 128 MiB memory (ramdisk not mapped)"
    add("larger-linux", what, big, "--mem", "128", kernel=make.vmlinuz)
    what = "Debian 6.1, 64 MiB ramdisk, 144 MiB memory"
    add("fits-linux", what, big, "--mem", "144", kernel=make.vmlinuz, expect="ok")
    zipped = gzip.compress(b"cpio here\n" * 419430, mtime=0)
    what = "gzip ramdisk (4 MiB of text): older builders unpack it"
    add("gz", what, make.file("rd.gz", zipped), expect="ok")
    add("gz-cut", "gzip ramdisk cut in half", make.file("rdcut.gz", zipped[: len(zipped) // 2]))
    trailed = make.file("rdtrail.gz", zipped + bytes(512))
    add("gz-trailer", "gzip ramdisk followed by 512 zero bytes", trailed, expect="ok")
    claims_3g = make.file("rdbig.gz", patch(zipped, len(zipped) - 4, "I", 3 << 30))
    add("gz-isize-big", "gzip ramdisk whose ISIZE says 3 GiB", claims_3g, expect="ok")
    claims_16m = make.file("rdb16.gz", patch(zipped, len(zipped) - 4, "I", 16 << 20))
    add("gz-isize-16m", "gzip ramdisk whose ISIZE says 16 MiB, 16 MiB memory", claims_16m, "--mem", "16")


def _command_line(make: _Maker) -> None:
    for size in (1023, 1024, 2048, 100000):
        text = make.file(f"cmd{size}", (b"abcdefghij" * (size // 10 + 1))[:size])
        what = f"command line of {size} characters"
        make.add(f"cmdline-{size}", what, make.tiny64, "--cmdline-file", text, expect="ok")
    odd = make.file("cmdu", "root=/dev/xvda1 name=Gärtner\t\x01".encode())
    what = "command line with UTF-8 and control bytes"
    make.add("cmdline-utf8", what, make.tiny64, "--cmdline-file", odd, expect="ok")


def _far_addresses(make: _Maker) -> None:
    for name, what, bits, base, expect in (
        ("32-in-hv", "32-bit kernel with VIRT_BASE 0xf8000000 (inside the hypervisor area)", 32, 0xF8000000, "ok"),
        ("32-wrap", "32-bit kernel at 0xfff00000: the initial mapping would pass 4 GiB", 32, 0xFFE00000, "ok"),
        ("64-wrap", "64-bit kernel in the last 2 MiB of the address space", 64, 0xFFFFFFFFFFE00000, "timeout"),
        ("64-hv", "64-bit kernel linked in the hypervisor area 0xffff820000000000", 64, 0xFFFF820000000000, "ok"),
        ("64-noncanonical", "64-bit kernel linked at 0x0000900000000000", 64, 0x900000000000, "ok"),
    ):
        make.add(f"base{name}", what, TinyKernel(bits, base=base).build(), expect=expect)
    make.add("pvh-only", "GRUB i386 PVH image (only PHYS32_ENTRY) as PV", make.pvh)
