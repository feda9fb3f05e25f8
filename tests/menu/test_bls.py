"""Entries in loader/entries: both readers' orders, options, defaults, and what they pass over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvboot.device_names import Device
from pvboot.menu import bls
from pvboot.menu.bls import BlsEntry, entries, expand
from pvboot.menu.model import MenuWarning
from pvboot.sources import open_devices
from tests.menu.trees import load_tree, messages, plant, shown

HERE = "/loader/entries"
ENVIRONMENT = "# GRUB Environment Block\n{}" + "#" * 100


def _entries(
    root: Path, files: Mapping[str, str | bytes], variables: Mapping[str, str] | None = None, directory: str = HERE
) -> tuple[list[BlsEntry], list[MenuWarning]]:
    warnings: list[MenuWarning] = []
    plant(root, {f"{directory}/{name}": text for name, text in files.items()})
    with open_devices(str(root)) as devices:
        found = entries(devices, Device("hd"), directory, grub_variables=variables, warn=warnings.append)
    return found, warnings


def _plain(*names: str) -> dict[str, str]:
    return {f"{name}.conf": f"title {name}\nlinux /{name}\n" for name in names}


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["m-5.9.0-1", "m-5.10.0-1", "m-5.10.0-0"], ["m-5.10.0-1", "m-5.10.0-0", "m-5.9.0-1"]),
        (["m-0-rescue", "m-5.1-2.x86_64"], ["m-5.1-2.x86_64", "m-0-rescue"]),
        (["a-1-1", "b-0-1"], ["b-0-1", "a-1-1"]),
        (["m-1~rc1-1", "m-1-1", "m-1+x-1"], ["m-1+x-1", "m-1-1", "m-1~rc1-1"]),
    ],
)
def test_blscfg_order_is_newest_name_first(tmp_path: Path, names: list[str], order: list[str]) -> None:
    found, _warnings = _entries(tmp_path, _plain(*names), {})
    assert [entry.id for entry in found] == order


def test_blscfg_drops_a_name_that_compares_equal(tmp_path: Path) -> None:
    found, warnings = _entries(tmp_path, _plain("m-1.0-1", "m-1_0-1"), {})
    assert len(found) == 1
    assert "means the same version as" in str(warnings[0])


@pytest.mark.parametrize(
    ("files", "order"),
    [
        (_plain("a-5", "a-10"), ["a-10", "a-5"]),
        (
            {"a.conf": "linux /a\nsort-key z\n", "b.conf": "linux /b\nsort-key a\n", "c.conf": "linux /c\n"},
            ["b", "a", "c"],
        ),
        ({"a.conf": "linux /a\nsort-key k\nversion 9\n", "b.conf": "linux /b\nsort-key k\nversion 10\n"}, ["b", "a"]),
        (
            {
                "a.conf": "linux /a\nsort-key k\nversion 9\nmachine-id 1\n",
                "b.conf": "linux /b\nsort-key k\nversion 10\nmachine-id 2\n",
            },
            ["a", "b"],
        ),
        ({"new+0-3.conf": "linux /n\n", "good.conf": "linux /g\n"}, ["good", "new"]),
        ({"new+2-1.conf": "linux /n\n", "good.conf": "linux /g\n"}, ["new", "good"]),
    ],
    ids=["file names", "sort-key", "version", "machine", "tries used up", "tries left"],
)
def test_systemd_order(tmp_path: Path, files: dict[str, str], order: list[str]) -> None:
    found, _warnings = _entries(tmp_path, files)
    assert [entry.id for entry in found] == order


def test_systemd_makes_titles_unique(tmp_path: Path) -> None:
    text = "title Linux\nlinux /k\nversion {}\nmachine-id {}\n"
    files = {"a.conf": text.format(1, "aaaaaaaaaaaa"), "b.conf": text.format(2, "b"), "c.conf": text.format(1, "c")}
    found, _warnings = _entries(tmp_path, {**files, "d.conf": "title Other\nlinux /k\n", "e.conf": "linux /k\n"})
    assert {entry.id: entry.title for entry in found} == {
        "a": "Linux (1) (aaaaaaaa)",
        "b": "Linux (2)",
        "c": "Linux (1) (c)",
        "d": "Other",
        "e": "e",
    }


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("a $x b", "a 1 b"),
        ("$x$y", "1 two words "),
        ("$none b", "b"),
        ("a${x}", "a{x}"),
        ("$x/y", "1 /y"),
        (r"a\$x", r"a\$x"),
        ("", ""),
        ("no variable", "no variable"),
        ("$", ""),
        ("$y", "two words "),
    ],
)
def test_variables(value: str, result: str) -> None:
    assert expand(value, {"x": "1", "y": "two words"}) == result


@given(value=st.text("$x y\\_", max_size=60))
def test_expansion_is_bounded(value: str) -> None:
    assert len(expand(value, {"x": "v" * 30_000, "y": ""})) <= bls.EXPANSION_LIMIT


@pytest.mark.parametrize(
    ("text", "variables", "options", "initrds"),
    [
        ("options a  b\noptions c\ninitrd /i\ninitrd /j\n", {}, "a b", ("/i", "/j")),
        ("options $kernelopts $tuned_params\n", {"kernelopts": "root=/dev/x ro"}, "root=/dev/x ro", ()),
        ("", {"default_kernelopts": "ro quiet"}, "ro quiet", ()),
        ("initrd /d/i $tuned_initrd\n", {"tuned_initrd": "/t"}, "", ("/d/i", "/t")),
        ("initrd /d/i $tuned_initrd\n", {}, "", ("/d/i",)),
        ("initrd /d/i\n", {"early_initrd": "ucode.img /x"}, "", ("/d/ucode.img", "/x", "/d/i")),
        ("options a=\"b c\" 'd' \\$e LABEL=A\\x20B\n", {}, '"a=b c" d $e LABEL=A\\x20B', ()),
    ],
)
def test_blscfg_values(
    tmp_path: Path, text: str, variables: dict[str, str], options: str, initrds: tuple[str, ...]
) -> None:
    (entry,), _warnings = _entries(tmp_path, {"m-1-1.conf": f"linux /k\n{text}"}, variables)
    assert (entry.kernel, entry.options, entry.initrds) == ("/k", options, initrds)


def test_blscfg_extras(tmp_path: Path) -> None:
    text = "title T\nlinux /k\ngrub_users $users\ngrub_hotkey x\ngrub_arg --unrestricted\ngrub_arg b\n"
    (entry,), _warnings = _entries(tmp_path, {"m-1-1.conf": text}, {"users": "root"})
    assert (entry.users, entry.hotkey, entry.arguments) == ("root", "x", ("--unrestricted", "b"))


def test_systemd_values(tmp_path: Path) -> None:
    text = "linux k\noptions  a  $b\noptions c \ninitrd /i\ninitrd /j\n"
    (entry,), _warnings = _entries(tmp_path, {"m.conf": text})
    assert (entry.options, entry.initrds) == ("a  $b c", ("/i", "/j"))
    assert (entry.files().kernel, entry.files().args) == ("/k", "a  $b c")


@pytest.mark.parametrize(
    ("name", "content", "warning"),
    [
        ("efi.conf", "title E\nefi /shell.efi\n", "(hd0)/loader/entries/efi.conf is passed over: it names no Linux"),
        ("arm.conf", "linux /k\narchitecture aa64\n", "is passed over: made for 'aa64'"),
        (".hidden.conf", "linux /k\n", None),
        ("entry.conf.bak", "linux /k\n", None),
        (".conf", "linux /k\n", None),
        ("big.conf", "linux /k\n" + "#" * bls.FILE_LIMIT_BYTES, f"only the first {bls.FILE_LIMIT_BYTES} bytes"),
    ],
)
def test_what_is_passed_over(tmp_path: Path, name: str, content: str, warning: str | None) -> None:
    found, warnings = _entries(tmp_path, {name: content, **_plain("good")})
    assert "good" in [entry.id for entry in found]
    assert len(found) == (2 if name == "big.conf" else 1)
    assert any(warning in str(given) for given in warnings) if warning else not warnings


def test_directory_in_place_of_an_entry(tmp_path: Path) -> None:
    (tmp_path / "loader/entries/dir.conf").mkdir(parents=True)
    found, warnings = _entries(tmp_path, _plain("good"))
    assert [entry.id for entry in found] == ["good"]
    assert "dir.conf is passed over" in str(warnings[0])


@pytest.mark.parametrize("variables", [None, {}])
def test_number_of_files_is_bounded(tmp_path: Path, variables: dict[str, str] | None) -> None:
    found, warnings = _entries(tmp_path, _plain(*(f"e-{n}-1" for n in range(bls.FILE_LIMIT + 5))), variables)
    assert len(found) == bls.FILE_LIMIT
    assert "only 1000 of 1005 entries are read" in str(warnings[0])


def test_bytes_of_all_files_are_bounded(tmp_path: Path) -> None:
    filler = b"linux /k\n" + b"#" * (bls.FILE_LIMIT_BYTES - 100)
    found, warnings = _entries(tmp_path, {f"e{n:03}.conf": filler for n in range(70)})
    assert 60 <= len(found) < 70
    assert "later ones are passed over" in str(warnings[-1])


@given(content=st.one_of(st.binary(max_size=200), st.text("linuxoptsrd $\"'\\\n\t\0/=", max_size=200).map(str.encode)))
@pytest.mark.parametrize("variables", [None, {"x": "y"}])
def test_any_bytes_are_an_entry_or_none(
    tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str] | None, content: bytes
) -> None:
    root = tmp_path_factory.mktemp("guest")
    found, _warnings = _entries(root, {"a-1-1.conf": b"linux /k\n" + content, "b.conf": content}, variables)
    for entry in found:
        assert entry.files().kernel is not None


# --- the menu of a volume


@pytest.mark.parametrize(
    ("directory", "kernel"), [("loader/entries", "/m/5.10/linux"), ("boot/loader/entries", "/boot/m/5.10/linux")]
)
def test_paths_count_from_the_boot_volume_or_its_directory(tmp_path: Path, directory: str, kernel: str) -> None:
    menu, files = load_tree(tmp_path, {f"{directory}/a.conf": "linux /m/5.10/linux\n", kernel: "kernel"})
    assert (menu.dialect, menu.path, files[0].kernel) == ("bls", f"/{directory}", kernel)


@pytest.mark.parametrize(
    ("loader_conf", "default", "timeout", "hidden"),
    [
        (None, 0, 0, False),
        ("timeout 3\ndefault a-5*\n", 1, 3, False),
        ("default A-5.conf\n", 1, 0, False),
        ("default nothing\ntimeout menu-force\n", 0, None, False),
        ("default @saved\ntimeout menu-hidden\n", 0, 0, True),
        ("timeout soon\n#timeout 9\nconsole-mode max\n", 0, 0, False),
    ],
)
def test_loader_conf(tmp_path: Path, loader_conf: str | None, default: int, timeout: int | None, hidden: bool) -> None:
    files = {f"{HERE}/{name}": text for name, text in _plain("a-5", "a-10").items()}
    if loader_conf is not None:
        files["loader/loader.conf"] = loader_conf
    menu, _files = load_tree(tmp_path, files)
    assert (menu.default, menu.timeout, menu.hidden) == (default, timeout, hidden)


def test_loader_conf_warns_of_a_default_that_is_not_there(tmp_path: Path) -> None:
    menu, _files = load_tree(tmp_path, {f"{HERE}/a.conf": "linux /k\n", "loader/loader.conf": "\n default b*\n"})
    assert messages(menu) == ["(hd0)/loader/loader.conf:2:2: no entry is named 'b*'"]


def test_entry_whose_tries_are_used_up_is_not_the_default(tmp_path: Path) -> None:
    menu, _files = load_tree(tmp_path, {f"{HERE}/new+0.conf": "linux /n\n", f"{HERE}/old.conf": "linux /o\n"})
    assert menu.entries[menu.default].id == "old"


@pytest.mark.parametrize(
    ("environment", "default"),
    [
        ("saved_entry=m-1-1\n", "m-1-1"),
        ("saved_entry=m-1-1.conf\n", "m-1-1"),
        ("saved_entry=1\n", "m-2-1"),
        ("saved_entry=m-1-1\nnext_entry=m-2-1\n", "m-2-1"),
        ("saved_entry=gone\n", "m-3-1"),
        ("", "m-3-1"),
    ],
)
def test_default_of_the_environment_block(tmp_path: Path, environment: str, default: str) -> None:
    files = {f"{HERE}/{name}": text for name, text in _plain("m-1-1", "m-2-1", "m-3-1").items()}
    menu, _files = load_tree(tmp_path, {**files, "grub2/grubenv": ENVIRONMENT.format(environment)})
    assert menu.entries[menu.default].id == default


def test_variables_of_fedora_without_environment_block(tmp_path: Path) -> None:
    entry = "title F\nlinux /k\noptions root=/dev/x $tuned_params\ninitrd /i $tuned_initrd\n"
    menu, files = load_tree(tmp_path, {f"{HERE}/m-1-1.conf": entry})
    assert shown(menu, files) == [("F", "/k", "root=/dev/x", ("/i",))]
