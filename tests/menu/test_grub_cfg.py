"""What a grub.cfg means, beyond what the real GRUB shows in `test_grub_cfg_against_grub`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.devices import Devices
from pvboot.errors import BootError, PvbootError
from pvboot.menu import Menu, find, load
from pvboot.menu.dialects import MenuContext
from pvboot.menu.grub2_rules import join_arguments
from pvboot.menu.grub_cfg import HypervisorEntryError, build
from pvboot.menu.grub_env import read_block
from pvboot.menu.model import BootFiles, Password
from pvboot.sources import open_devices

ABC = "menuentry A --id a {linux /a}\nmenuentry B --id b {linux /b}\nmenuentry C --id c {linux /c}\n"
NESTED = "menuentry A {linux /a}\nsubmenu S --id s { menuentry X {linux /x}; menuentry Y --id y {linux /y} }\n"
PATH = "(hd0,0)/boot/grub/grub.cfg"


def _build(text: str) -> Menu:
    context = MenuContext("disk.img", "(hd0,0)", "/boot/grub/grub.cfg", Devices(()))
    return build(text.encode("utf-8", "surrogateescape"), context)


def _files(text: str, index: int = 0) -> BootFiles:
    files = _build(text).entries[index].files
    assert files is not None
    return files()


def _tree(folder: Path, tree: dict[str, str | bytes]) -> Menu:
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    devices = open_devices(str(folder))
    return load(devices, find(devices))


@pytest.mark.parametrize(
    ("text", "default"),
    [
        (ABC, 0),
        ("set default=1\n" + ABC, 1),
        ("default=2\n" + ABC, 2),
        ("set default=B\n" + ABC, 1),
        ("set default=c\n" + ABC, 2),
        ("set default=7\n" + ABC, 0),
        ("set default=nothing\n" + ABC, 0),
        ("set default=0x1\n" + ABC, 1),
        (NESTED, 0),
        ("set default=1\n" + NESTED, 1),
        ("set default='1>1'\n" + NESTED, 2),
        ("set default='s>y'\n" + NESTED, 2),
        ("set default='S>Y'\n" + NESTED, 2),
        ("set default='S>9'\n" + NESTED, 1),
        ("set default='A>9'\n" + NESTED, 0),
        ("set default='x>>y'\nmenuentry A {linux /a}\nmenuentry 'x>y' {linux /x}\n", 1),
        ("set default=8d3f\nmenuentry A {linux /a}\nmenuentry B --id 8d3f {linux /x}\n", 1),
        ("submenu S { set default=1; menuentry X {linux /x}; menuentry Y {linux /y} }\n", 1),
        ("", 0),
    ],
)
def test_default(text: str, default: int) -> None:
    assert _build(text).default == default


@pytest.mark.parametrize(
    ("text", "timeout", "hidden"),
    [
        ("", None, False),
        ("set timeout=5", 5, False),
        ("set timeout=-1", None, False),
        ("set timeout=${t}", None, False),
        ("set timeout=0", 0, False),
        ("set timeout=3; set timeout_style=hidden", 3, True),
        ("set timeout=3; set timeout_style=countdown", 3, True),
        ("set timeout=3; set timeout_style=menu", 3, False),
        ("set timeout_style=hidden", None, False),
    ],
)
def test_timeout(text: str, timeout: int | None, hidden: bool) -> None:
    menu = _build(f"{text}\n{ABC}")
    assert (menu.timeout, menu.hidden) == (timeout, hidden)


@pytest.mark.parametrize(
    ("value", "fallback"), [("1 2", (1, 2)), ("b c", (1, 2)), ("0 1", (1,)), ("1 9 2", (1,)), ("", ())]
)
def test_fallback(value: str, fallback: tuple[int, ...]) -> None:
    assert _build(f"set fallback='{value}'\n{ABC}").fallback == fallback


def test_submenus_see_exported_variables_only() -> None:
    text = 'set a=1\nset b=2\nexport b\nsubmenu S { menuentry "<$a$b>" { linux /k $a$b; } }\n'
    menu = _build(text)
    assert (menu.entries[0].title, menu.entries[0].submenu, _files(text).args) == ("<2>", ("S",), "2")


def test_bodies_run_with_the_variables_at_the_end_of_the_file() -> None:
    text = 'v=1\nmenuentry "$v" { linux /k $v $1 $2; v=3 }\nv=2\n'
    assert _build(text).entries[0].title == "1"
    assert _files(text).args == "2 1"


@pytest.mark.parametrize(
    ("body", "files"),
    [
        ("linux /k a  b", BootFiles("(hd0,0)/k", "a b")),
        ("linux /k; initrd /i /j", BootFiles("(hd0,0)/k", "", ("(hd0,0)/i", "(hd0,0)/j"))),
        ("linux /k; initrd /i; initrd /j", BootFiles("(hd0,0)/k", "", ("(hd0,0)/j",))),
        ("linux /a; initrd /i; linux /b", BootFiles("(hd0,0)/b")),
        ("initrd /i; linux /k", BootFiles("(hd0,0)/k", "", ("(hd0,0)/i",))),
        ("linux /k; boot; linux /l", BootFiles("(hd0,0)/k")),
        ("linux /k; initrd newc:x:/i", BootFiles("(hd0,0)/k")),
        ("linux /k; chainloader +1", BootFiles(None)),
        ("reboot", BootFiles(None)),
        ("linuxefi /k; initrdefi /i", BootFiles("(hd0,0)/k", "", ("(hd0,0)/i",))),
    ],
)
def test_what_an_entry_loads(body: str, files: BootFiles) -> None:
    loaded = _files(f"menuentry A {{ {body}; }}\n")
    assert (loaded.kernel, loaded.args, loaded.initrds) == (files.kernel, files.args, files.initrds)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["a", "b"], "a b"),
        (["a b"], '"a b"'),
        (["a'b"], "a\\'b"),
        (['x="y z"'], '"x=\\"y z\\""'),
        (["a\\b"], "a\\\\b"),
        (["LABEL=C\\x20D"], "LABEL=C\\x20D"),
        ([""], ""),
    ],
)
def test_command_line_is_quoted_as_by_grub(words: list[str], line: str) -> None:
    assert join_arguments(words) == line


def test_multiboot_entries_are_shown_but_not_chosen() -> None:
    text = "menuentry X { multiboot /boot/xen.gz; module /k a; module /i; }\nmenuentry L { linux /k; }\n"
    menu = _build(text)
    assert (len(menu.entries), menu.default) == (2, 1)
    with pytest.raises(HypervisorEntryError, match=r"starts \(hd0,0\)/boot/xen.gz by multiboot"):
        _files(text)


def test_multiboot_alone_stays_the_default() -> None:
    assert _build("menuentry X { multiboot /xen.gz; }\n").default == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("foo 1\n", f"{PATH}:1:1: unknown command 'foo' is skipped"),
        ("menuentry A {\n  foo\n}\n", f"{PATH}:2:3: unknown command 'foo' is skipped"),
        ("true\n  fi\n", f"{PATH}:2:3: syntax error: 'fi' where a command should be"),
        ("search --fs-uuid --set=root x\n", f"{PATH}:1:1: no volume with the uuid 'x'"),
        ("search x\n", f"{PATH}:1:1: 'search' does not say what to look for"),
        ("menuentry {true}\n", f"{PATH}:1:1: an entry without a title or a body is left out"),
        ("regexp a b\n", f"{PATH}:1:1: this command is not supported and fails"),
        ("while true; do a=b; done\n", "the script is stopped: it takes too long"),
        ("set default=9\nmenuentry A {true}\n", "default '9' is not an entry, the first one is taken"),
    ],
)
def test_warning(text: str, message: str) -> None:
    assert message in [str(warning) for warning in _build(text).warnings]


def test_functions_of_the_file_need_no_warning() -> None:
    text = "function load_video { true; }\nmenuentry A { load_video; linux /k; }\n"
    assert _build(text).warnings == ()


@pytest.mark.parametrize(
    ("text", "locked"),
    [
        ("menuentry A {linux /a}\n", False),
        ("set superusers=root\npassword root x\nmenuentry A {linux /a}\n", True),
        ("set superusers=root\nmenuentry A --unrestricted {linux /a}\n", False),
        ("set superusers=root\nmenuentry A --users joe {linux /a}\n", True),
    ],
)
def test_locked(text: str, locked: bool) -> None:
    assert _build(text).entries[0].locked is locked


def test_password_of_a_superuser() -> None:
    assert _build("set superusers='joe root'\npassword root x y\npassword root x\n").password == Password("plain", "x")
    assert _build("set superusers=root\npassword_pbkdf2 root grub.x\n").password == Password("unsupported", "grub.x")
    assert _build("password root x\n").password is None


@pytest.mark.parametrize(
    "text",
    [
        "while true; do a=b; done",
        "x=aaaaaaaaaaaaaaaa\n" + "x=$x$x\n" * 40,
        "function f { g $@ $@ $@; }\nfunction g { f $@ $@ $@; }\nf a b c",
        "function f { f; f; }\nf",
        "while true; do menuentry A {linux /k}; done",
        'x=\'eval "$x"\'\neval "$x"',
        "for a in " + "/*" * 500 + "; do true; done",
    ],
)
def test_scripts_that_would_never_end(text: str) -> None:
    assert _build(ABC + text).entries[0].title == "A"


def test_an_entry_that_never_ends_is_an_error() -> None:
    with pytest.raises(BootError, match="takes too long"):
        _files("menuentry A { while true; do a=b; done }\n")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_menu(data: bytes) -> None:
    menu = build(data, MenuContext("x", "(hd0,0)", "/boot/grub/grub.cfg", Devices(())))
    assert 0 <= menu.default < max(len(menu.entries), 1)


_LINES = [
    "menuentry A {linux /k $v}",
    "menuentry B {",
    "}",
    "set v=$v$v$v",
    "v=a",
    "if [ -f /x ]; then",
    "fi",
    "else",
    "submenu S {",
    "while [ x$v != xaaa ]; do v=a$v; done",
    "function f {",
    "f $v",
    "search --file --set=root /x",
    "source /x",
    "configfile /boot/grub/grub.cfg",
    "load_env",
    "blscfg",
    "set default='S>1'",
    "eval $v",
    "test ( a",
    "for i in $v /*; do",
    "done",
    "multiboot /x",
    "boot",
    "initrd /i $v*",
    "export v",
    "unset v",
    "shift",
    "return",
]


@given(st.lists(st.sampled_from(_LINES), max_size=25))
def test_any_lines_are_a_menu(lines: list[str]) -> None:
    menu = _build("\n".join(lines))
    for entry in menu.entries:
        assert entry.files is not None
        try:
            entry.files()
        except PvbootError as err:
            assert str(err)


# --- with files -------------------------------------------------------------------------------------------


def test_configfile_takes_over(tmp_path: Path) -> None:
    menu = _tree(
        tmp_path,
        {
            "boot/grub/grub.cfg": "set hidden=1\nconfigfile /other.cfg\nmenuentry never {linux /k}\n",
            "other.cfg": 'set timeout=4\nmenuentry "other$hidden" {linux /k}\n',
        },
    )
    assert ([entry.title for entry in menu.entries], menu.timeout) == (["other"], 4)


def test_an_entry_with_configfile_boots_its_default(tmp_path: Path) -> None:
    menu = _tree(
        tmp_path,
        {
            "boot/grub/grub.cfg": "menuentry A { configfile /other.cfg; }\n",
            "other.cfg": "set default=1\nmenuentry X {linux /x}\nmenuentry Y {linux /y}\n",
        },
    )
    files = menu.entries[0].files
    assert files is not None and files().kernel == "(hd0)/y"


@pytest.mark.parametrize("word", ["source", "configfile", "submenu S { source"])
def test_a_file_that_reads_itself_ends(tmp_path: Path, word: str) -> None:
    text = f"menuentry A {{linux /k}}\n{word} /boot/grub/grub.cfg{'; }' if '{' in word else ''}\n"
    menu = _tree(tmp_path, {"boot/grub/grub.cfg": text})
    assert menu.entries and menu.warnings


def test_an_entry_that_shows_its_own_menu_is_an_error(tmp_path: Path) -> None:
    menu = _tree(tmp_path, {"boot/grub/grub.cfg": "menuentry A { configfile /boot/grub/grub.cfg; }\n"})
    files = menu.entries[0].files
    assert files is not None
    with pytest.raises(BootError, match="shows another menu"):
        files()


@pytest.mark.parametrize("word", ["configfile", "source"])
def test_everything_nested_at_once(tmp_path: Path, word: str) -> None:
    """Files that read themselves from within deep blocks, in functions, with deep texts and parentheses."""
    deep = "if true; then " * 50
    inner = f"f; eval '{deep * 1} test {'( ' * 200}; {'fi; ' * 50}'; {word} /boot/grub/grub.cfg;"
    text = f"menuentry A {{linux /k}}\nfunction f {{ {deep} f; {'fi; ' * 50} }}\n{deep} {inner} {'fi; ' * 50}\n"
    menu = _tree(tmp_path, {"boot/grub/grub.cfg": text})
    assert menu.entries[0].title == "A" and menu.warnings


def test_saved_entry_and_blocks_of_environment(tmp_path: Path) -> None:
    block = b"# GRUB Environment Block\nsaved_entry=b\nother=1\n".ljust(1024, b"#")
    text = "load_env\nset default=$saved_entry\nset timeout=$other\n" + ABC
    menu = _tree(tmp_path, {"boot/grub/grub.cfg": text, "boot/grub/grubenv": block})
    assert (menu.default, menu.timeout) == (1, 1)
    menu = _tree(tmp_path, {"boot/grub/grub.cfg": text.replace("load_env", "load_env saved_entry")})
    assert (menu.default, menu.timeout) == (1, None)


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b"a=b\n##", {"a": "b"}),
        (b"a=b=c\nb=\n#", {"a": "b=c", "b": ""}),
        (b"a=x\\\\y\\\nz\nb=1\n", {"a": "x\\y\nz", "b": "1"}),
        (b"#a=b\nc\na=1\na=2\n", {"a": "2"}),
        (b"a=unfinished", {}),
    ],
)
def test_environment_block(data: bytes, values: dict[str, str]) -> None:
    assert read_block(b"# GRUB Environment Block\n" + data) == values
    assert read_block(data) is None


def test_blscfg_adds_its_entries(tmp_path: Path) -> None:
    entry = "title Fedora\nversion 6\nlinux /vmlinuz-6\ninitrd /initrd-6\noptions $kernelopts quiet\n"
    menu = _tree(
        tmp_path,
        {
            "boot/grub2/grub.cfg": "set kernelopts='root=/dev/xvda1'\nset default=id-6\n"
            "menuentry A {linux /a}\nblscfg\n",
            "loader/entries/id-6.conf": entry,
            "vmlinuz-6": "",
            "initrd-6": "",
        },
    )
    assert ([entry.title for entry in menu.entries], menu.default) == (["A", "Fedora"], 1)
    files = menu.entries[1].files
    assert files is not None
    assert (files().root, files().kernel, files().args) == ("(hd0)", "/vmlinuz-6", "root=/dev/xvda1 quiet")


def test_root_that_the_guest_does_not_have_means_the_menus_volume(tmp_path: Path) -> None:
    menu = _tree(tmp_path, {"boot/grub/grub.cfg": "menuentry A { set root='hd3,gpt5'; linux /k; }\n", "k": ""})
    files = menu.entries[0].files
    assert files is not None and files().kernel == "(hd0)/k"


def test_search_sets_the_root(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder, name in ((first, "boot/grub/grub.cfg"), (second, "marker")):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("search --file --set=root /marker\nmenuentry A { linux /k; }\n")
    with open_devices(str(first), [str(second)]) as devices:
        menu = load(devices, find(devices))
        files = menu.entries[0].files
        assert files is not None and files().kernel == "(hd1)/k"
