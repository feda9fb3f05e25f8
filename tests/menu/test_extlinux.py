"""What the lines of a syslinux, extlinux or isolinux configuration mean."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.devices import Devices
from pvboot.menu.dialects import MenuContext
from pvboot.menu.extlinux import ENTRY_LIMIT, INCLUDE_DEPTH, INCLUDE_LIMIT, INITRD_LIMIT, build, wanted_files
from pvboot.menu.model import BootFiles, Menu
from tests.menu.trees import load_tree, messages

CONF = "boot/extlinux/extlinux.conf"
TWO = "LABEL a\nKERNEL /a\nLABEL b\nKERNEL /b\n"


def _build(text: str) -> Menu:
    return build(text.encode(), MenuContext("guest", None, "/extlinux.conf", Devices(())))


def _files(text: str) -> list[BootFiles]:
    return [entry.files() for entry in _build(text).entries if entry.files]


@pytest.mark.parametrize(
    ("body", "kernel", "args", "initrds"),
    [
        ("KERNEL /k\nAPPEND a  b ", "/k", "a  b", ()),
        ("append a\nkernel /k", "/k", "a", ()),
        ("LINUX /k\nINITRD /i\nAPPEND a", "/k", "a", ("/i",)),
        ("LINUX /k\nINITRD /i,/j", "/k", "", ("/i", "/j")),
        ("KERNEL /k\nAPPEND initrd=/i,/j root=/dev/x", "/k", "root=/dev/x", ("/i", "/j")),
        ("KERNEL /k\nAPPEND a initrd=/i b", "/k", "a  b", ("/i",)),
        ("KERNEL /k\nINITRD /x\nAPPEND initrd=/i", "/k", "", ("/i",)),
        ("KERNEL /k\nAPPEND a\nAPPEND b", "/k", "b", ()),
        ("KERNEL /k a b", "/k", "a b", ()),
        ("KERNEL /k a b\nAPPEND c", "/k", "c", ()),
        ('KERNEL "/k"\nAPPEND "a b"', "/k", "a b", ()),
        ('KERNEL /k\nAPPEND "a" "b"', "/k", '"a" "b"', ()),
        ("LINUX /k\nFDT /x.dtb\nFDTDIR /dtbs\nAPPEND a", "/k", "a", ()),
        ("KERNEL mboot.c32\nAPPEND xen.gz dom0_mem=1G --- /k root=/dev/x  ro --- /i", "/k", "root=/dev/x  ro", ("/i",)),
        ("KERNEL mboot.c32\nAPPEND /k a --- /i", "/k", "a", ("/i",)),
        ("COM32 /boot/mboot.c32\nAPPEND /boot/xen-4.17.gz --- /k a", "/k", "a", ()),
        ("COM32 mboot.c32\nAPPEND xen.gz --- /k a---b --- /i --- /policy", "/k", "a---b", ("/i",)),
        ("KERNEL linux.c32 /k\nAPPEND /k initrd=/i a", "/k", "a", ("/i",)),
    ],
)
def test_entry(body: str, kernel: str, args: str, initrds: tuple[str, ...]) -> None:
    (files,) = _files(f"LABEL x\n{body}\n")
    assert (files.kernel, files.args, files.initrds) == (kernel, args, initrds)


@pytest.mark.parametrize(
    "body",
    [
        "LOCALBOOT 0",
        "COM32 reboot.c32",
        "KERNEL vesamenu.c32\nAPPEND x.cfg",
        "KERNEL /chain.c32",
        "CONFIG other.cfg",
        "BOOT /bootsect.dat",
        "KERNEL mboot.c32",
        "KERNEL mboot.c32\nAPPEND xen.gz",
        "KERNEL",
        "LINUX\nAPPEND a",
        "KERNEL linux.c32",
        "MENU QUIT",
        "MENU GOTO y",
        "",
    ],
)
def test_entry_without_a_kernel_for_a_guest(body: str) -> None:
    menu = _build(f"LABEL x\n{body}\n")
    assert menu.entries[0].files is not None
    assert menu.entries[0].files().kernel is None


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("APPEND g\nLABEL x\nKERNEL /k\n", "g"),
        ("APPEND g\nLABEL x\nKERNEL /k\nAPPEND l\n", "l"),
        ("APPEND g\nLABEL x\nKERNEL /k\nAPPEND -\n", ""),
        ("APPEND -\nLABEL x\nKERNEL /k\n", ""),
        ("APPEND g\nLABEL x\nKERNEL /k\nAPPEND\n", ""),
    ],
    ids=["global", "local", "none", "global none", "local empty"],
)
def test_append(text: str, args: str) -> None:
    assert _files(text)[0].args == args


def test_global_initrd() -> None:
    assert _files("INITRD /g\nLABEL x\nLINUX /k\nLABEL y\nLINUX /k\nINITRD /l\n")[0].initrds == ("/g",)


@pytest.mark.parametrize(
    ("head", "default"),
    [
        ("", 0),
        ("DEFAULT b\n", 1),
        ("default B\n", 1),
        ("DEFAULT gone\n", 0),
        ("DEFAULT vesamenu.c32\n", 0),
        ("UI menu.c32\nDEFAULT b\n", 1),
        ("DEFAULT b quiet\n", 1),
        ("ONTIMEOUT b\n", 0),
        ("TIMEOUT 50\nONTIMEOUT b\n", 1),
        ("DEFAULT b\nTIMEOUT 50\nONTIMEOUT a\n", 0),
    ],
)
def test_default(head: str, default: int) -> None:
    assert _build(head + TWO).default == default


def test_default_may_stand_behind_the_labels() -> None:
    assert _build(TWO + "DEFAULT b\n").default == 1


def test_menu_default_beats_default() -> None:
    assert _build("DEFAULT a\n" + TWO + "MENU DEFAULT\n").default == 1


def test_menu_default_of_a_submenu_counts_only_there() -> None:
    text = TWO + "MENU BEGIN s\nLABEL c\nLINUX /c\nMENU DEFAULT\nMENU END\n"
    assert _build(text).default == 0


@pytest.mark.parametrize(
    ("head", "seconds"),
    [
        ("", None),
        ("TIMEOUT 0\n", None),
        ("TIMEOUT 30\n", 3),
        ("TIMEOUT 31\n", 4),
        ("TIMEOUT 1\n", 1),
        ("TOTALTIMEOUT 100\n", 10),
        ("TIMEOUT 300\nTOTALTIMEOUT 100\n", 10),
        ("TIMEOUT 50\nTOTALTIMEOUT 9000\n", 5),
        ("TIMEOUT soon\n", None),
        ("TIMEOUT 99999999999999999999\n", 100_000_000),
    ],
)
def test_timeout_in_tenths_of_seconds(head: str, seconds: int | None) -> None:
    assert _build(head + TWO).timeout == seconds


def test_titles() -> None:
    text = "MENU TITLE no\nLABEL a\nMENU LABEL ^Boot it\nKERNEL /k\nLABEL b\nKERNEL /k\n"
    assert [(entry.id, entry.title) for entry in _build(text).entries] == [("a", "Boot it"), ("b", "b")]


def test_submenus() -> None:
    text = (
        "LABEL a\nMENU BEGIN tag\nMENU TITLE More\nLABEL b\nMENU LABEL B\nMENU BEGIN\nMENU LABEL ^Deep\nLABEL c\n"
        "MENU END\nLABEL d\nMENU END\nLABEL e\nMENU BEGIN only tag\nLABEL f\n"
    )
    assert [(entry.id, entry.submenu) for entry in _build(text).entries] == [
        ("a", ()),
        ("b", ("More",)),
        ("c", ("More", "Deep")),
        ("d", ("More",)),
        ("e", ()),
        ("f", ("only tag",)),
    ]


def test_nesting_is_bounded() -> None:
    text = "MENU BEGIN x\n" * 9000 + "LABEL a\nLINUX /k\n" + "MENU END\n" * 9000 + "LABEL b\nLINUX /k\n"
    menu = _build(text)
    assert len(menu.entries[0].submenu) <= 17
    assert menu.entries[1].submenu == ()


def test_help_text_is_no_directive() -> None:
    assert len(_build("LABEL a\nTEXT HELP\nLABEL no\nENDTEXT\nLINUX /k\n").entries) == 1


def test_hidden_menu_and_password() -> None:
    menu = _build("MENU HIDDEN\nMENU MASTER PASSWD $1$abc$def\n" + TWO)
    assert (menu.hidden, menu.password and menu.password.kind) == (True, "md5")


@pytest.mark.parametrize(
    ("head", "kernels"),
    [
        ("DEFAULT /vmlinuz root=/dev/x\nAPPEND g\n", ["/vmlinuz"]),
        ("IMPLICIT 0\nDEFAULT /vmlinuz\n", []),
        ("DEFAULT vesamenu.c32\n", []),
        ("", []),
    ],
)
def test_default_of_a_file_without_labels_is_a_kernel(head: str, kernels: list[str]) -> None:
    assert [files.kernel for files in _files(head)] == kernels


def test_implicit_kernel_gets_the_global_arguments_too() -> None:
    assert _files("DEFAULT /vmlinuz root=/dev/x\nAPPEND g initrd=/i\n")[0] == BootFiles(
        "/vmlinuz", "g  root=/dev/x", ("/i",)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LABEL a\n  KERNAL /k\n", "/extlinux.conf:2:3: unknown keyword 'kernal' is skipped"),
        ("TIMEOUT x\n", "/extlinux.conf:1:1: timeout 'x' is not a number"),
        ("DEFAULT gone\n" + TWO, "/extlinux.conf:1:1: no entry is labelled 'gone'"),
        ("DEFAULT b quiet\n" + TWO, "/extlinux.conf:1:1: the arguments behind 'b' are left out"),
        ("INCLUDE x\n", "/extlinux.conf:1:1: 'x' is not included: it has no disk to be looked for on"),
        ("LABEL a\nMENU PASSWD x\n", "/extlinux.conf:2:1: the password of a single entry is not asked for"),
    ],
)
def test_warning(text: str, message: str) -> None:
    assert message in messages(_build(text))


@pytest.mark.parametrize(
    "line",
    [
        "SAY hello",
        "PROMPT 1",
        "SERIAL 0 115200",
        "F1 help.txt",
        "DISPLAY x",
        "MENU COLOR x",
        "UI vesamenu.c32",
        "FDTDIR /x",
        "ALLOWOPTIONS 0",
        "# remark",
    ],
)
def test_harmless_line_gives_no_warning(line: str) -> None:
    assert messages(_build(f"{line}\n{TWO}{line}\n")) == []


# --- paths and included files


@pytest.mark.parametrize(
    ("name", "there", "path"),
    [
        ("/vmlinuz", ["vmlinuz"], "/vmlinuz"),
        ("vmlinuz", ["boot/extlinux/vmlinuz", "vmlinuz"], "/boot/extlinux/vmlinuz"),
        ("../vmlinuz", ["boot/vmlinuz"], "/boot/vmlinuz"),
        ("./vmlinuz", ["boot/extlinux/vmlinuz"], "/boot/extlinux/vmlinuz"),
        ("boot/vmlinuz", ["boot/vmlinuz"], "/boot/vmlinuz"),
        ("vmlinuz", [], "/boot/extlinux/vmlinuz"),
        ("../../../../vmlinuz", ["vmlinuz"], "/vmlinuz"),
    ],
    ids=["absolute", "beside", "above", "dot", "from the root", "nowhere", "above the root"],
)
def test_path_of_a_kernel(tmp_path: Path, name: str, there: list[str], path: str) -> None:
    files = {CONF: f"LABEL a\nLINUX {name}\n", **dict.fromkeys(there, "kernel")}
    assert load_tree(tmp_path, files)[1][0].kernel == path


def test_path_above_a_linked_directory(tmp_path: Path) -> None:
    (tmp_path / "real/deep/extlinux").mkdir(parents=True)
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/extlinux").symlink_to("../real/deep/extlinux")
    files = {"real/deep/extlinux/extlinux.conf": "LABEL a\nLINUX ../k\n", "real/deep/k": "kernel"}
    assert load_tree(tmp_path, files)[1][0].kernel == "/boot/extlinux/../k"


def test_label_is_the_kernel_if_nothing_else_is_named(tmp_path: Path) -> None:
    assert load_tree(tmp_path, {CONF: "LABEL linux\nAPPEND a\n", "boot/extlinux/linux": "k"})[1] == [
        BootFiles("/boot/extlinux/linux", "a", (), root="(hd0)")
    ]


def test_included_files_continue_the_text(tmp_path: Path) -> None:
    files = {
        CONF: "APPEND g\nINCLUDE one.cfg\nMENU INCLUDE /two.cfg Other kernels\nLABEL last\nLINUX /l\n",
        "boot/extlinux/one.cfg": "LABEL one\nLINUX k\n",
        "two.cfg": "LABEL two\nLINUX k2\ninclude sub/three.cfg\n",
        "boot/extlinux/sub/three.cfg": "MENU LABEL Two\n",
    }
    menu, found = load_tree(tmp_path, files)
    assert [(entry.title, entry.submenu) for entry in menu.entries] == [
        ("one", ()),
        ("Two", ("Other kernels",)),
        ("last", ()),
    ]
    assert [file.args for file in found] == ["g", "g", "g"]
    assert str(menu.entries[0].span) == "(hd0)/boot/extlinux/one.cfg:1:1"


def test_menu_program_with_a_file(tmp_path: Path) -> None:
    files = {CONF: "UI menu.c32 menu.cfg\n", "boot/extlinux/menu.cfg": TWO}
    assert [entry.id for entry in load_tree(tmp_path, files)[0].entries] == ["a", "b"]


@pytest.mark.parametrize(
    "files",
    [
        {CONF: TWO + "INCLUDE extlinux.conf\n"},
        {CONF: TWO + "INCLUDE a\n", "boot/extlinux/a": "INCLUDE b\nINCLUDE b\n", "boot/extlinux/b": "INCLUDE a\n" * 9},
        {CONF: TWO + "INCLUDE a\n" * 500, "boot/extlinux/a": "LABEL x\n"},
    ],
    ids=["itself", "one another", "many"],
)
def test_includes_are_bounded(tmp_path: Path, files: dict[str, str]) -> None:
    menu, _files = load_tree(tmp_path, files)
    assert f"the limit is {INCLUDE_DEPTH} deep, {INCLUDE_LIMIT} files" in " ".join(messages(menu))
    assert len(menu.entries) <= 2 * (INCLUDE_LIMIT + 1)


def test_entries_and_lines_are_bounded() -> None:
    menu = _build("LABEL a\nLINUX /k\n" * 15_000)
    assert len(menu.entries) == ENTRY_LIMIT
    assert messages(menu) == [
        "/extlinux.conf: only the first 20000 lines are read",
        f"/extlinux.conf:3999:1: entries behind this one are left out: the limit is {ENTRY_LIMIT}",
    ]


def test_ramdisks_are_bounded() -> None:
    assert len(_files(f"LABEL a\nLINUX /k\nINITRD {'/i,' * 1000}\n")[0].initrds) == INITRD_LIMIT


def test_missing_include_is_a_warning(tmp_path: Path) -> None:
    menu, _files = load_tree(tmp_path, {CONF: "  INCLUDE gone.cfg\n" + TWO})
    assert messages(menu)[0].startswith("(hd0)/boot/extlinux/extlinux.conf:1:3: 'gone.cfg' is not included: ")


_WORDS = st.sampled_from(
    [
        "LABEL",
        "KERNEL",
        "APPEND",
        "MENU",
        "BEGIN",
        "END",
        "INCLUDE",
        "TEXT",
        "HELP",
        "ENDTEXT",
        "mboot.c32",
        "---",
        "-",
        "initrd=",
        "DEFAULT",
        "UI",
        "menu.c32",
        "TIMEOUT",
        "ONTIMEOUT",
        "a",
        "9",
        "\n",
        "\n",
        " ",
        "\t",
        "\r",
        "\0",
        "\xe9",
        '"',
        "^",
        ",",
        "/",
        "../",
    ]
)


@given(words=st.lists(_WORDS, max_size=40), glue=st.sampled_from(["", " "]))
def test_any_text_is_a_menu(words: list[str], glue: str) -> None:
    menu = build(glue.join(words).encode("latin-1"), MenuContext("guest", None, "/x/extlinux.conf", Devices(())))
    assert 0 <= menu.default <= max(0, len(menu.entries) - 1)
    for entry in menu.entries:
        assert entry.files is not None
        entry.files()


@given(
    kind=st.sampled_from(["kernel", "linux", "com32", "localboot", ""]),
    kernel=st.text(max_size=20),
    append=st.text('a-= ,initrd"', max_size=40),
    initrd=st.text(",a ", max_size=6),
)
def test_ramdisk_words_never_reach_the_kernel(kind: str, kernel: str, append: str, initrd: str) -> None:
    files = wanted_files(kind, kernel, append, initrd)
    assert not any(word.startswith("initrd=") for word in files.args.strip('"').split(" ")[1:])
