"""Where distributions keep kernel and ramdisk in the trees that they publish for installing.

A tree says so itself in `.treeinfo` (Fedora, RHEL and their kin: productmd's format); else the known places are tried,
those of kernels made for Xen first.  Kernel and ramdisk always belong to each other.
"""

from __future__ import annotations

from collections.abc import Iterator

from fsdrivers import errors as fs_errors
from fsdrivers.light import TYPE_CHECKING
from pvboot.errors import BootError
from pvboot.grub_errors import shorten

if TYPE_CHECKING:
    from fsdrivers.api import File, Filesystem

TREEINFO_LIMIT_BYTES = 1 << 20
TREEINFO_NAMES = (".treeinfo", "treeinfo")

# Kernel and ramdisk; the first row that is there wins.
PLACES: tuple[tuple[str, str], ...] = (
    ("images/xen/vmlinuz", "images/xen/initrd.img"),  # RHEL 5, Fedora to 10
    ("boot/x86_64/vmlinuz-xen", "boot/x86_64/initrd-xen"),  # openSUSE, SLES to 12
    ("boot/i386/vmlinuz-xen", "boot/i386/initrd-xen"),
    ("current/images/netboot/xen/vmlinuz", "current/images/netboot/xen/initrd.gz"),  # Debian: .../installer-amd64/
    ("images/netboot/xen/vmlinuz", "images/netboot/xen/initrd.gz"),  # Debian: .../installer-amd64/DATE/
    ("netboot/xen/vmlinuz", "netboot/xen/initrd.gz"),
    ("xen/vmlinuz", "xen/initrd.gz"),
    ("install.amd/xen/vmlinuz", "install.amd/xen/initrd.gz"),  # Debian's CDs
    ("install.386/xen/vmlinuz", "install.386/xen/initrd.gz"),
    ("images/pxeboot/vmlinuz", "images/pxeboot/initrd.img"),  # Fedora, RHEL 6 and later
    ("isolinux/vmlinuz", "isolinux/initrd.img"),
    ("boot/x86_64/loader/linux", "boot/x86_64/loader/initrd"),  # openSUSE, SLES 15
    ("boot/i386/loader/linux", "boot/i386/loader/initrd"),
    ("current/images/netboot/debian-installer/amd64/linux", "current/images/netboot/debian-installer/amd64/initrd.gz"),
    ("current/images/netboot/debian-installer/i386/linux", "current/images/netboot/debian-installer/i386/initrd.gz"),
    ("debian-installer/amd64/linux", "debian-installer/amd64/initrd.gz"),  # Debian's unpacked netboot.tar.gz
    ("debian-installer/i386/linux", "debian-installer/i386/initrd.gz"),
    ("current/images/netboot/ubuntu-installer/amd64/linux", "current/images/netboot/ubuntu-installer/amd64/initrd.gz"),
    (
        "current/legacy-images/netboot/ubuntu-installer/amd64/linux",
        "current/legacy-images/netboot/ubuntu-installer/amd64/initrd.gz",
    ),
    ("ubuntu-installer/amd64/linux", "ubuntu-installer/amd64/initrd.gz"),
    ("install.amd/vmlinuz", "install.amd/initrd.gz"),
    ("install.386/vmlinuz", "install.386/initrd.gz"),
    ("casper/vmlinuz", "casper/initrd"),  # Ubuntu's live CDs
    ("casper/vmlinuz", "casper/initrd.lz"),
    ("live/vmlinuz", "live/initrd.img"),  # Debian's live CDs
    ("netboot/vmlinuz-virt", "netboot/initramfs-virt"),  # Alpine: .../releases/x86_64/
    ("boot/vmlinuz-virt", "boot/initramfs-virt"),
    ("netboot/vmlinuz-lts", "netboot/initramfs-lts"),
    ("boot/vmlinuz-lts", "boot/initramfs-lts"),
    ("arch/boot/x86_64/vmlinuz-linux", "arch/boot/x86_64/initramfs-linux.img"),  # Arch
    ("isolinux/x86_64/vmlinuz", "isolinux/x86_64/all.rdz"),  # Mageia
    ("boot/gentoo", "boot/gentoo.igz"),  # Gentoo's CDs
    ("linux", "initrd.gz"),  # one flavour of Debian's netboot alone
    ("vmlinuz-virt", "initramfs-virt"),
    ("vmlinuz-lts", "initramfs-lts"),
    ("vmlinuz", "initrd.img"),
    ("vmlinuz", "initrd.gz"),
    ("vmlinuz", "initrd"),
)


def find_tree(filesystem: Filesystem, base: str = "/") -> tuple[File, File]:
    """Kernel and ramdisk of the tree at `base`.  Raises `BootError` if none is known, `FsError`, `PvbootError`."""
    tried = 0
    for kernel, ramdisk in (*_treeinfo_pairs(filesystem, base), *PLACES):
        tried += 1
        names = [join(base, kernel), join(base, ramdisk)]
        if all(_is_there(filesystem, name) for name in names):
            return filesystem.open(names[0]), filesystem.open(names[1])
    raise BootError(
        "no installation tree is known here",
        expected="a .treeinfo file, or one of the usual layouts",
        found=f"none of {tried} pairs of names; --kernel and --ramdisk name others",
    )


def partner(kernel: str) -> str | None:
    """The ramdisk that belongs to a kernel of a known place."""
    wanted = kernel.strip("/")
    return next((ramdisk for name, ramdisk in PLACES if name == wanted), None)


def join(base: str, name: str) -> str:
    """A path below `base`.  Raises `BootError` for one that leads out of it."""
    parts = [part for part in f"{base}/{name}".split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BootError("a file name must not contain '..'", where=shorten(name))
    return "/" + "/".join(parts)


def _is_there(filesystem: Filesystem, path: str) -> bool:
    try:
        return filesystem.lookup(path).kind == "file"
    except (fs_errors.NotFound, fs_errors.NotADirectory):
        return False


def _treeinfo_pairs(filesystem: Filesystem, base: str) -> Iterator[tuple[str, str]]:
    """Read the tree's own description, its images for Xen first."""
    for name in TREEINFO_NAMES:
        try:
            text = filesystem.open(join(base, name)).read_at(0, TREEINFO_LIMIT_BYTES).decode("utf-8", "replace")
        except (fs_errors.NotFound, fs_errors.NotADirectory, fs_errors.IsADirectory):
            continue
        yield from read_treeinfo(text)
        return


def read_treeinfo(text: str) -> list[tuple[str, str]]:
    """Pairs of kernel and initrd in the `images-...` sections: Xen's, then those of the tree's own architecture."""
    import configparser

    info = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    try:
        info.read_string(text)
    except configparser.Error:
        return []
    arch = (info.get("tree", "arch", fallback="") or info.get("general", "arch", fallback="") or "").strip()
    sections = [name for name in info.sections() if name.startswith("images-")]
    order = sorted(sections, key=lambda name: (name != "images-xen", name != f"images-{arch}", name))
    pairs = [(info.get(name, "kernel", fallback=None), info.get(name, "initrd", fallback=None)) for name in order]
    return [(kernel, initrd) for kernel, initrd in pairs if kernel and initrd and ".." not in f"{kernel}/{initrd}"]
