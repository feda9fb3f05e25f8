"""What running an entry gives: kernels, modules, the first error, passwords, other menus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures import make_images
from pvboot.devices import Devices
from pvboot.errors import BootError, MenuError
from pvboot.grub_errors import GrubError
from pvboot.menu import Menu, find, load
from pvboot.menu.model import Password
from pvboot.menu.words import WORDS
from pvboot.shell.interpreter import run_entry, run_line
from pvboot.shell.passwords import matches, md5_crypt
from pvboot.shell.request import BootRequest, OpenMenu, PowerControl
from pvboot.shell.session import Choice, boot_menu
from pvboot.shell.state import Console, new_shell
from pvboot.shell.table import COMMANDS
from pvboot.sources import open_devices


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """A guest's disk as a directory, with a second disk beside it."""
    for name, content in {"a/k": b"kernel", "a/i": b"initrd", "a/m": b"module", "b/only-here": b"other"}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "a/boot/grub").mkdir(parents=True)
    return tmp_path


def _open(guest: Path, text: str) -> tuple[Devices, Menu]:
    (guest / "a/boot/grub/menu.lst").write_bytes(text.encode("utf-8", "surrogateescape"))
    devices = open_devices(str(guest / "a"), [str(guest / "b")])
    return devices, load(devices, find(devices))


def _run(guest: Path, commands: str, *, head: str = "", **options: object) -> object:
    devices, menu = _open(guest, f"{head}title T\n{commands}\n")
    return run_entry(devices, menu, menu.entries[0], **options)  # type: ignore[arg-type]


def _request(guest: Path, commands: str) -> BootRequest:
    outcome = _run(guest, commands)
    assert isinstance(outcome, BootRequest)
    return outcome


def _modules(request: BootRequest) -> list[tuple[str, str, bytes, bool]]:
    return [(module.name, module.kind, module.cmdline, module.decompress) for module in request.modules]


# --- kernels and modules


def test_every_word_has_a_command_and_no_other() -> None:
    assert {*COMMANDS} == {*WORDS}


def test_command_line_is_what_follows_the_path_blanks_kept(guest: Path) -> None:
    request = _request(guest, "kernel --no-mem-option --type=linux /k  a=1  b \udce9 ")
    assert (request.name, request.cmdline) == ("(hd0)/k", b"a=1  b \xe9 ")
    assert request.kernel.read_at(0, 100) == b"kernel"


@pytest.mark.parametrize(
    ("commands", "modules"),
    [
        ("kernel /k\ninitrd /i x", [("(hd0)/i", "initrd", b"", True)]),
        ("kernel /k\ninitrd /i\ninitrd /m", [("(hd0)/m", "initrd", b"", True)]),
        ("kernel /k\nmodule /m a  b", [("(hd0)/m", "module", b"/m a  b", True)]),
        (
            "kernel /k\nmodule /m\nmodulenounzip /i",
            [("(hd0)/m", "module", b"/m", True), ("(hd0)/i", "module", b"/i", False)],
        ),
        ("kernel /k\nmodule /m\ninitrd /i", [("(hd0)/i", "initrd", b"", True)]),
        ("kernel /k\ninitrd /i\nmodule /m", [("(hd0)/m", "module", b"/m", True)]),
        ("kernel /k\ninitrd /i\nkernel /m", [("(hd0)/i", "initrd", b"", True)]),
    ],
)
def test_modules(guest: Path, commands: str, modules: list[tuple[str, str, bytes, bool]]) -> None:
    assert _modules(_request(guest, commands)) == modules


def test_boot_ends_the_entry(guest: Path) -> None:
    assert _request(guest, "kernel /k 1\nboot\nkernel /k 2").cmdline == b"1"


def test_entry_that_loads_nothing_leads_nowhere(guest: Path) -> None:
    assert _run(guest, "root (hd0,0)") is None


@pytest.mark.parametrize(
    ("commands", "name"),
    [
        ("kernel /only-here", "(hd1)/only-here"),
        ("root (hd1,0)\nkernel /only-here", "(hd1,0)/only-here"),
        ("kernel (hd1)/only-here", "(hd1)/only-here"),
        ("kernel (hd1,msdos1)/only-here", "(hd1,0)/only-here"),
    ],
)
def test_where_the_kernel_is_found(guest: Path, commands: str, name: str) -> None:
    assert _request(guest, commands).name == name


def test_named_root_is_the_only_place(guest: Path) -> None:
    with pytest.raises(GrubError, match="Error 15"):
        _run(guest, "root (hd0)\nkernel /only-here")


def test_root_does_not_carry_over_from_another_entry(guest: Path) -> None:
    devices, menu = _open(guest, "title A\nroot (hd1)\ntitle B\nkernel /k\n")
    run_entry(devices, menu, menu.entries[0])
    outcome = run_entry(devices, menu, menu.entries[1])
    assert isinstance(outcome, BootRequest)
    assert outcome.name == "(hd0)/k"


def test_uuid_finds_the_volume_in_any_case(images: Callable[[str], Path], tmp_path: Path) -> None:
    with open_devices(str(images("gpt.img"))) as devices:
        uuid = devices.mount(next(device for device in devices.candidates() if device.partition == 2)).uuid
        shell = new_shell(devices, None)
        assert uuid is not None
        run_line(shell, f"uuid {uuid.upper()}")
        assert str(shell.root) == "(hd0,2)"
        with pytest.raises(GrubError, match=r"Error 15.*UUID '1234'"):
            run_line(shell, "uuid 1234")


@pytest.mark.parametrize(
    ("index", "kernel", "modules"),
    [
        (0, "(hd0,0)/boot/tiny64.elf", []),
        (1, "(hd0,0)/boot/tiny64.elf", ["(hd0,0)/boot/module.txt"]),
        (4, "(hd0,4)/tiny64.elf", []),
    ],
)
def test_entries_of_a_real_disk(images: Callable[[str], Path], index: int, kernel: str, modules: list[str]) -> None:
    with open_devices(str(images("mbr.img"))) as devices:
        menu = load(devices, find(devices))
        outcome = run_entry(devices, menu, menu.entries[index])
        assert isinstance(outcome, BootRequest)
        assert (outcome.name, [module.name for module in outcome.modules]) == (kernel, modules)
        assert outcome.kernel.read_at(0, 4) == b"\x7fELF"


# --- errors


@pytest.mark.parametrize(
    ("commands", "where", "number"),
    [
        ("kernel /nope", "2:8", 15),
        ("initrd /i", "2:8", 19),
        ("kernel /k\n  module (hd7)/m", "3:10", 21),
        ("default 1\nkernel /k", "2:9", 27),
        ("boot", "2:1", 8),
        ("chainloader /k", "2:13", 13),
        ("makeactive", "2:1", 27),
        ("dhcp", "2:1", 12),
        ("kernel (nd)/k", "2:8", 12),
        ("kernel (cd)/k", "2:8", 21),
    ],
)
def test_first_error_has_number_and_place(guest: Path, commands: str, where: str, number: int) -> None:
    with pytest.raises(GrubError) as caught:
        _run(guest, commands)
    assert caught.value.number == number
    assert str(caught.value).startswith(f"(hd0)/boot/grub/menu.lst:{where}: Error {number}: ")


def test_lines_are_echoed_as_stored(guest: Path) -> None:
    printed: list[str] = []
    _run(guest, "kernel  /k \nprint hello\nsavedefault", console=Console(printed.append))
    assert "".join(printed) == "kernel  /k \nhello\nsavedefault\n"


LINE_PARTS = [*WORDS, "(hd0)", "(hd0,0)", "/", "/boot", "+1", "=", " ", "x", "--", "0x", "\0", "é", ","]


@given(st.lists(st.sampled_from(LINE_PARTS)))
def test_any_line_answers_or_fails_with_a_number(words: list[str]) -> None:
    with open_devices(str(make_images.KERNELS)) as devices:
        shell = new_shell(devices, None)
        for line in (" ".join(words), "".join(words), "kernel " + "".join(words), "root " + "".join(words)):
            try:
                run_line(shell, line)
            except GrubError as err:
                assert 1 <= err.number <= 35


# --- rights


@pytest.mark.parametrize("authenticated", [False, True])
def test_lock(guest: Path, authenticated: bool) -> None:
    try:
        outcome = _run(guest, "lock\nkernel /k", head="password x\n", authenticated=authenticated)
    except GrubError as err:
        assert (err.number, authenticated) == (32, False)
    else:
        assert isinstance(outcome, BootRequest) and authenticated


@pytest.mark.parametrize(("typed", "fails"), [("secret", False), ("wrong", True), (None, True)])
def test_password_in_an_entry(guest: Path, typed: str | None, fails: bool) -> None:
    console = Console(ask=lambda _prompt: typed)
    if not fails:
        assert isinstance(_run(guest, "password secret\nkernel /k", console=console), BootRequest)
        return
    with pytest.raises(GrubError, match="Error 32"):
        _run(guest, "password secret\nkernel /k", console=console)


@pytest.mark.parametrize(
    ("text", "salt", "digest"),
    [
        # made by `openssl passwd -1`
        ("password", "saltsalt", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"),
        ("", "ab", "$1$ab$rn6aQS/o7141mj179E/zA."),
        ("a" * 31, "12345678", "$1$12345678$SH6OPfTu6SmEjMrV9iiU2/"),
    ],
)
def test_md5_crypt(text: str, salt: str, digest: str) -> None:
    assert md5_crypt(text, salt) == digest
    assert matches(text, Password("md5", f"{digest} /other/menu"))
    assert not matches("x" + text, Password("md5", digest))


@pytest.mark.parametrize("password", [Password("unsupported", "x"), Password("md5", "x"), Password("md5", "")])
def test_password_that_never_matches(password: Password) -> None:
    assert not matches("x", password)
    assert not matches("", password)


# --- from menu to boot


def _boot(guest: Path, text: str, choice: Choice | None = None) -> str:
    """Name and command line of the kernel that is booted."""
    devices, menu = _open(guest, text)
    outcome = boot_menu(
        devices,
        menu,
        lambda request: f"{request.name} {request.cmdline.decode()}",
        choose=lambda shown: choice or Choice(shown.default),
    )
    assert not isinstance(outcome, PowerControl)
    return outcome


BROKEN_THEN_GOOD = "fallback 1 2\ntitle A\nkernel /nope\ntitle B\nroot (hd9)\ntitle C\nkernel /k c\n"


def test_fallbacks_are_tried_in_order(guest: Path) -> None:
    assert _boot(guest, BROKEN_THEN_GOOD) == "(hd0)/k c"


def test_the_reason_is_told_before_a_fallback_hides_it(guest: Path) -> None:
    devices, menu = _open(guest, BROKEN_THEN_GOOD)
    told: list[str] = []
    boot_menu(devices, menu, lambda request: request.name, console=Console(told.append))
    text = "".join(told)
    assert [text.index(part) for part in ("'A'", "Error 15", "'B'", "Error 12", "'C'")] == sorted(
        text.index(part) for part in ("'A'", "Error 15", "'B'", "Error 12", "'C'")
    )


def test_choice_by_key_cancels_fallbacks(guest: Path) -> None:
    with pytest.raises(BootError, match=r"entry 0 'A'.*Error 15"):
        _boot(guest, BROKEN_THEN_GOOD, Choice(0, by_key=True))


def test_kernel_that_does_not_boot_counts_as_a_failed_entry(guest: Path) -> None:
    devices, menu = _open(guest, "fallback 1\ntitle A\nkernel /k bad\ntitle B\nkernel /k good\n")

    def accept(request: BootRequest) -> str:
        if request.cmdline == b"bad":
            raise BootError("dead")
        return request.cmdline.decode()

    assert boot_menu(devices, menu, accept) == "good"


def test_all_failures_are_told(guest: Path) -> None:
    with pytest.raises(BootError, match=r"entry 0 'A': .*Error 15.*; entry 1 'B': .*Error 12"):
        _boot(guest, "fallback 1\ntitle A\nkernel /nope\ntitle B\nroot (hd9)\n")


def test_menu_without_entries(guest: Path) -> None:
    with pytest.raises(MenuError, match="no entry"):
        _boot(guest, "timeout 1\n")


def test_configfile_goes_on_with_the_other_menu(guest: Path) -> None:
    (guest / "b/other.lst").write_text("default 1\ntitle X\nboot\ntitle Y\nkernel /only-here y\n")
    assert _boot(guest, "title A\nconfigfile (hd1)/other.lst\n") == "(hd1)/only-here y"


def test_configfile_is_an_outcome_of_its_own(guest: Path) -> None:
    outcome = _run(guest, "configfile /boot/grub/menu.lst")
    assert isinstance(outcome, OpenMenu)
    assert outcome.found.path == "/boot/grub/menu.lst"


def test_menus_that_lead_to_each_other_end(guest: Path) -> None:
    with pytest.raises(BootError, match="without end"):
        _boot(guest, "title A\nconfigfile /boot/grub/menu.lst\n")


@pytest.mark.parametrize("action", ["halt", "reboot"])
def test_power_control(guest: Path, action: str) -> None:
    assert _run(guest, action) == PowerControl(action)


def test_failed_entry_leads_back_to_the_menu_when_somebody_is_there(guest: Path) -> None:
    devices, menu = _open(guest, "timeout 5\n" + BROKEN_THEN_GOOD)
    choices = iter([Choice(0, by_key=True), Choice(2, by_key=True)])
    clocks = []

    def choose(shown: Menu) -> Choice:
        clocks.append(shown.timeout)
        return next(choices)

    assert boot_menu(devices, menu, lambda request: request.name, choose=choose, interactive=True) == "(hd0)/k"
    assert clocks == [5, None]
