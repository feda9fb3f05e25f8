"""Rules about volumes: absent, ambiguous, unreadable, not unmounted; features that loaders cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.partitions import EXTENDED, LINUX, MbrEntry, write_mbr
from tests.check.guests import TINY64, Tree, check, grub_cfg, make_ext, menu_lst, of, plant, rules_of, run_tool

SECTOR = 512
MIB = 1 << 20
UUID = "5d6e3fd6-3f0e-4f4c-9d8b-7076626f6f74"
OTHER_UUID = "11111111-2222-3333-4444-555555555555"


def ext_with(folder: Path, name: str, text: str, *options: str, kind: str = "ext4") -> Path:
    tree = plant(folder / "tree", {name: text, "boot/k": TINY64})
    return make_ext(folder / "disk.img", tree, "-U", UUID, "-L", "guest", *options, kind=kind)


def two_partitions(image: Path, first: Path, second: bytes) -> Path:
    """A disk: the file system of `first` as partition 1, bytes as partition 2."""
    entries = [MbrEntry(LINUX, 2048, first.stat().st_size // SECTOR)]
    entries.append(MbrEntry(LINUX, entries[0].start + entries[0].sectors, 4 * MIB // SECTOR))
    with open(image, "wb") as disk:
        disk.truncate((entries[1].start + entries[1].sectors) * SECTOR)
        write_mbr(disk, entries)
        disk.seek(entries[0].start * SECTOR)
        disk.write(first.read_bytes())
        disk.seek(entries[1].start * SECTOR)
        disk.write(second)
    return image


# --- absent -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("menu", "expected"),
    [
        (menu_lst(root="(hd0,0)"), set()),
        (menu_lst(root="(hd0)"), set()),
        (menu_lst(root="(hd1,0)"), {"root-device-absent"}),
        (menu_lst(root="(hd0,3)"), {"root-device-absent"}),
        (menu_lst("(hd3)/boot/k"), {"root-device-absent"}),
        (menu_lst("(hd0)/boot/k"), set()),
        (menu_lst().replace("kernel", f"uuid {UUID}\nkernel"), set()),
        (menu_lst().replace("kernel", f"uuid {OTHER_UUID}\nkernel"), {"root-device-absent"}),
    ],
)
def test_a_root_device_of_grub_legacy(tmp_path: Path, menu: str, expected: set[str]) -> None:
    image = ext_with(tmp_path, "boot/grub/menu.lst", menu)
    assert rules_of(check(image), "error") & {"root-device-absent", "missing-kernel-file"} == expected


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (f"search --no-floppy --fs-uuid --set=root {UUID}", []),
        ("search --no-floppy --label --set=root guest", []),
        (f"search --no-floppy --fs-uuid --set=root {OTHER_UUID}", [("note", 4)]),
        ("search --no-floppy --label --set=root gest", [("note", 4)]),
        ("if search --no-floppy --file --set=root /gone; then true; fi", [("note", 4)]),
    ],
)
def test_a_search_that_finds_nothing_is_noted_where_the_entry_boots_all_the_same(
    tmp_path: Path, search: str, expected: list[tuple[str, int]]
) -> None:
    image = ext_with(tmp_path, "boot/grub/grub.cfg", grub_cfg(search, "linux /boot/k root=/dev/xvda1"))
    found = of(check(image), "root-device-absent")
    assert [(finding.severity, finding.line) for finding in found] == expected


def test_a_search_that_finds_nothing_is_an_error_where_the_files_are_missing(tmp_path: Path) -> None:
    text = grub_cfg(f"search --no-floppy --fs-uuid --set=root {OTHER_UUID}", "linux /vmlinuz root=/dev/xvda1")
    (finding,) = of(check(ext_with(tmp_path, "boot/grub/grub.cfg", text)), "root-device-absent")
    assert (finding.severity, finding.entry) == ("error", 0)
    assert OTHER_UUID in finding.message


@pytest.mark.parametrize(
    ("root", "other", "expected"),
    [
        (f"UUID={UUID}", bytes(8192), []),
        (f"UUID={UUID.upper()}", bytes(8192), []),
        (f"/dev/disk/by-uuid/{UUID}", bytes(8192), []),
        ("LABEL=guest", bytes(8192), []),
        (f"UUID={OTHER_UUID}", bytes(8192), ["warning"]),
        ("LABEL=Guest", bytes(8192), ["warning"]),
        (f"UUID={OTHER_UUID}", bytes(4086) + b"SWAPSPACE2" + bytes(4096), ["warning"]),
        (f"UUID={OTHER_UUID}", bytes(512) + b"LABELONE" + bytes(8192), []),
        (f"UUID={OTHER_UUID}", b"XFSB" + bytes(8192), []),
        (f"PARTUUID={OTHER_UUID}", bytes(8192), []),
    ],
)
def test_the_root_that_the_kernel_looks_for(tmp_path: Path, root: str, other: bytes, expected: list[str]) -> None:
    text = menu_lst(root="(hd0,0)", args=f"root={root} console=hvc0")
    image = two_partitions(tmp_path / "whole.img", ext_with(tmp_path, "boot/grub/menu.lst", text), other)
    assert [finding.severity for finding in of(check(image), "root-device-absent")] == expected


# --- ambiguous --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "uuid", "label", "expected"),
    [
        (f"root=UUID={UUID}", UUID, "other", True),
        (f"root=UUID={UUID}", OTHER_UUID, "guest", False),
        ("root=LABEL=guest", OTHER_UUID, "guest", True),
        ("root=/dev/xvda1", UUID, "guest", False),
    ],
)
def test_a_name_that_two_volumes_have(tmp_path: Path, args: str, uuid: str, label: str, expected: bool) -> None:
    image = ext_with(tmp_path, "boot/grub/menu.lst", menu_lst(args=f"{args} console=hvc0"))
    second = make_ext(tmp_path / "second.img", None, "-U", uuid, "-L", label)
    found = of(check(image, disks=(str(second),)), "ambiguous-volume")
    assert [finding.line for finding in found] == ([4] if expected else [])


# --- unreadable -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"LUKS\xba\xbe" + bytes(8192), "encrypted-volume"),
        (b"XFSB" + bytes(8192), "unreadable-filesystem"),
        (bytes(512) + b"LABELONE" + bytes(8192), "unreadable-filesystem"),
        (bytes(8192), "unreadable-filesystem"),
    ],
)
def test_a_kernel_on_a_volume_that_cannot_be_read(tmp_path: Path, content: bytes, expected: str) -> None:
    first = ext_with(tmp_path, "boot/grub/menu.lst", menu_lst(root="(hd0,1)"))
    image = two_partitions(tmp_path / "whole.img", first, content)
    assert rules_of(check(image), "error") == {expected}


def test_an_unreadable_volume_beside_the_guest_is_not_mentioned(tmp_path: Path) -> None:
    first = ext_with(tmp_path, "boot/grub/menu.lst", menu_lst(root="(hd0,0)"))
    image = two_partitions(tmp_path / "whole.img", first, b"LUKS\xba\xbe" + bytes(8192))
    assert not rules_of(check(image)) & {"encrypted-volume", "unreadable-filesystem"}


def test_what_the_loader_asked_for_can_read_is_only_noted(tmp_path: Path) -> None:
    text = grub_cfg("set root=hd0,msdos2", "linux /vmlinuz root=/dev/xvda2")
    first = ext_with(tmp_path, "boot/grub/grub.cfg", text)
    image = two_partitions(tmp_path / "whole.img", first, b"XFSB" + bytes(8192))

    def severities(target: str | None) -> list[str]:
        return [finding.severity for finding in of(check(image, target), "unreadable-filesystem")]

    assert severities("loader=pvgrub2") == ["note"]
    assert severities("loader=pygrub") == severities(None) == ["error"]


@pytest.mark.parametrize(("version", "severity"), [(4, "note"), (5, "error")])
def test_pygrub_and_pv_grub_read_xfs_before_version_5(tmp_path: Path, version: int, severity: str) -> None:
    first = ext_with(tmp_path, "boot/grub/menu.lst", menu_lst(root="(hd0,1)"))
    superblock = b"XFSB".ljust(100, b"\0") + (0xB480 | version).to_bytes(2, "big")
    image = two_partitions(tmp_path / "whole.img", first, superblock.ljust(8192, b"\0"))
    for loader in ("pygrub", "pv-grub"):
        found = of(check(image, f"loader={loader}"), "unreadable-filesystem")
        assert [finding.severity for finding in found] == [severity]


# --- file systems of their own kind -----------------------------------------------------------------------


@pytest.mark.parametrize("dirty", [False, True])
def test_a_journal_that_nobody_replayed(tmp_path: Path, dirty: bool) -> None:
    image = ext_with(tmp_path, "boot/grub/menu.lst", menu_lst())
    if dirty:
        run_tool("debugfs", "-w", "-R", "feature +needs_recovery", image)
    found = of(check(image), "dirty-journal")
    assert [finding.severity for finding in found] == (["warning"] if dirty else [])


PLAIN = "none,filetype,sparse_super,extent,flex_bg,has_journal"


@pytest.mark.parametrize(
    ("features", "loader", "unreadable"),
    [
        (PLAIN, "pv-grub", ""),
        (f"{PLAIN},64bit", "pv-grub", "64bit"),
        (f"{PLAIN},64bit", "pygrub", ""),
        (f"{PLAIN},meta_bg", "pv-grub", "meta_bg"),
        (f"{PLAIN},inline_data", "pv-grub", "inline_data"),
        (f"{PLAIN},bigalloc", "pygrub", "bigalloc"),
        (f"{PLAIN},bigalloc", "pv-grub", "bigalloc with blocks of 1024 bytes"),
        (f"{PLAIN},encrypt,ea_inode", "pv-grub", ""),
        (f"{PLAIN},casefold", "pygrub", ""),
    ],
)
def test_features_that_a_loader_of_menu_lst_cannot_read(
    tmp_path: Path, features: str, loader: str, unreadable: str
) -> None:
    image = ext_with(tmp_path, "boot/grub/menu.lst", menu_lst(), "-O", features)
    found = of(check(image, f"loader={loader}"), "filesystem-feature")
    assert [(finding.severity, finding.message.rpartition(": ")[2]) for finding in found] == (
        [("error", unreadable)] if unreadable else []
    )


@pytest.mark.parametrize(
    ("features", "unreadable"),
    [
        (f"{PLAIN},64bit,metadata_csum", None),
        (f"{PLAIN},64bit,metadata_csum,metadata_csum_seed", ("warning", "metadata_csum_seed")),
        (f"{PLAIN},inline_data", ("error", "inline_data")),
        (f"{PLAIN},large_dir", ("warning", "large_dir")),
        (f"{PLAIN},casefold", ("error", "casefold")),
    ],
)
def test_features_that_grub_2_06_cannot_read(tmp_path: Path, features: str, unreadable: tuple[str, str] | None) -> None:
    image = ext_with(tmp_path, "boot/grub/grub.cfg", grub_cfg("linux /boot/k root=/dev/xvda1"), "-O", features)
    found = of(check(image, "loader=pvgrub2"), "filesystem-feature")
    assert [(finding.severity, finding.message.rpartition(": ")[2]) for finding in found] == (
        [unreadable] if unreadable else []
    )
    assert not [finding for finding in of(check(image), "filesystem-feature") if finding.severity != "note"]


# --- what loaders do not see ------------------------------------------------------------------------------


def logical(folder: Path, menu: str) -> Path:
    """The guest's file system as the first logical partition."""
    first = ext_with(folder, "boot/grub/menu.lst", menu)
    sectors = first.stat().st_size // SECTOR
    outer = MbrEntry(EXTENDED, 2048, sectors + 4096)
    inner = MbrEntry(LINUX, outer.start + 2048, sectors)
    image = folder / "logical.img"
    with open(image, "wb") as disk:
        disk.truncate((outer.start + outer.sectors) * SECTOR)
        write_mbr(disk, [outer], [inner])
        disk.seek(inner.start * SECTOR)
        disk.write(first.read_bytes())
    return image


@pytest.mark.parametrize(("loader", "seen"), [("pygrub", False), ("pv-grub", True), ("pvboot", True)])
def test_a_logical_partition(tmp_path: Path, loader: str, seen: bool) -> None:
    image = logical(tmp_path, menu_lst(root="(hd0,4)"))
    assert bool(of(check(image, f"loader={loader}"), "partition-not-seen")) is not seen


@pytest.mark.parametrize(
    ("image", "expected"),
    [("gpt.img", ["pv-grub"]), ("gpt4096.img", ["pygrub", "pv-grub"]), ("mbr.img", ["pygrub"]), ("ext2.img", [])],
)
def test_tables_of_partitions(images: object, image: str, expected: list[str]) -> None:
    path = images(image)  # type: ignore[operator]
    blind = [
        loader
        for loader in ("pvboot", "pygrub", "pv-grub")
        if of(check(path, f"loader={loader}"), "partition-not-seen")
    ]
    assert blind == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("boot/l", TINY64, "looks for"), ("boot/k", TINY64[:-1] + b"?", "takes another"), ("boot/k", TINY64, None)],
)
def test_pygrub_does_not_follow_root_to_another_partition(
    tmp_path: Path, name: str, content: bytes, said: str | None
) -> None:
    home = ext_with(tmp_path, "boot/grub/menu.lst", menu_lst(f"/{name}", root="(hd0,1)"))
    tree = plant(tmp_path / "other", {name: content})
    other = make_ext(tmp_path / "other.img", tree, size="4M").read_bytes()
    image = two_partitions(tmp_path / "whole.img", home, other)
    found = of(check(image, "loader=pygrub"), "other-volume-ignored")
    assert [finding.line for finding in found] == ([5] if said else [])
    assert said is None or said in found[0].message
    assert not of(check(image, "loader=pv-grub"), "other-volume-ignored")
    assert not of(check(image), "other-volume-ignored")


@pytest.mark.parametrize(
    ("name", "blind"),
    [
        ("boot/grub/menu.lst", ["pvgrub2"]),
        ("boot/grub/grub.conf", ["pv-grub", "pvgrub2"]),
        ("boot/grub/grub.cfg", ["pv-grub"]),
        ("boot/grub2/grub.cfg", ["pv-grub", "pvgrub2"]),
        ("boot/extlinux/extlinux.conf", ["pv-grub", "pvgrub2"]),
        ("isolinux/isolinux.cfg", ["pygrub", "pv-grub", "pvgrub2"]),
        ("loader/entries/a.conf", ["pygrub", "pv-grub", "pvgrub2"]),
    ],
)
def test_menus_that_loaders_do_not_look_for(tmp_path: Path, name: str, blind: list[str]) -> None:
    texts = {"cfg": grub_cfg("linux /boot/k root=/dev/xvda1"), "lst": menu_lst(), "conf": menu_lst()}
    text = texts[name.rpartition(".")[2]]
    if "linux/" in name:
        text = "DEFAULT a\nTIMEOUT 50\nLABEL a\nKERNEL /boot/k\nAPPEND root=/dev/xvda1\n"
    elif "entries" in name:
        text = "title A\nlinux /boot/k\noptions root=/dev/xvda1\n"
    guest = plant(tmp_path, {name: text, "boot/k": TINY64})
    loaders = ("pvboot", "pygrub", "pv-grub", "pvgrub2")
    assert [loader for loader in loaders if of(check(guest, f"loader={loader}"), "menu-not-seen")] == blind


def test_a_menu_beside_the_chosen_one_that_the_loader_takes_is_only_a_warning(tmp_path: Path) -> None:
    tree: Tree = {
        "boot/grub/grub.cfg": grub_cfg("linux /boot/k root=/dev/xvda1"),
        "boot/grub/menu.lst": menu_lst(),
        "boot/k": TINY64,
    }
    guest = plant(tmp_path, tree)
    assert [finding.severity for finding in of(check(guest, "loader=pv-grub"), "menu-not-seen")] == ["warning"]
    assert not of(check(guest, "loader=pygrub"), "menu-not-seen")
