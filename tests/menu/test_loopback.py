"""Disk images on a guest's disk as devices of `grub.cfg`, and names of files with blanks in them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from fsdrivers.api import File
from pvboot.device_names import Device
from pvboot.devices import LOOP_LIMIT, Devices
from pvboot.errors import PvbootError
from pvboot.grub_errors import GrubError
from pvboot.libxl.pygrub.guest import open_entry
from pvboot.menu import Menu, find, load
from pvboot.shell.interpreter import run_entry
from pvboot.shell.request import BootRequest
from pvboot.sources import open_devices
from tests.conftest import RunCli

KERNEL = b"kernel of the disc" * 1000
LOOPBACK_CFG = "menuentry inner { linux /casper/vmlinuz inner; initrd /casper/initrd; }\n"
TREE = {"casper/vmlinuz": KERNEL, "casper/initrd": b"initrd", "boot/grub/loopback.cfg": LOOPBACK_CFG.encode()}


def _fill(folder: Path, tree: dict[str, bytes]) -> None:
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An ISO with a kernel, an initrd and a menu of its own."""
    folder = tmp_path_factory.mktemp("disc")
    _fill(folder / "tree", TREE)
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "LIVE", "-o", "disc.iso", "tree"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "disc.iso").read_bytes()


def _guest(folder: Path, grub_cfg: str, tree: dict[str, bytes], menu: str = "boot/grub/grub.cfg") -> Path:
    """An ext4 image with a menu."""
    _fill(folder / "guest", {menu: grub_cfg.encode(), **tree})
    image = folder / "guest.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder / "guest", image, "16M"], check=True)
    return image


def _load(devices: Devices) -> Menu:
    return load(devices, find(devices))


def _content(file: File) -> bytes:
    return file.read_at(0, file.size)


def _from_extents(devices: Devices, file: File) -> bytes:
    data = b""
    disk = devices.disks[0].source
    assert disk is not None
    for extent in file.extents():
        data += disk.read_at(extent.offset, extent.length) if extent.fd is not None else extent.data or b""
    return data


def _boot(image: Path, entry: int = 0) -> tuple[bytes, list[bytes], bytes]:
    """Kernel, initrds and command line, the same by the shell's way and by pygrub's."""
    with open_devices(str(image)) as devices:
        menu = _load(devices)
        request = run_entry(devices, menu, menu.entries[entry])
        assert isinstance(request, BootRequest)
        kernel, ramdisks, _args = open_entry(devices, menu, menu.entries[entry])
        assert _from_extents(devices, kernel) == _content(kernel) == _content(request.kernel)
        initrds = [_content(module.file) for module in request.modules]
        assert [_content(ramdisk) for ramdisk in ramdisks] == initrds
        return _content(request.kernel), initrds, request.cmdline


@pytest.mark.parametrize(
    "script",
    [
        "menuentry A { loopback loop /disc.iso; linux (loop)/casper/vmlinuz x; initrd (loop)/casper/initrd; }",
        "loopback loop (hd0)/disc.iso\nmenuentry A { linux (loop)/casper/vmlinuz x; initrd (loop)/casper/initrd; }",
        "iso=/disc.iso\nmenuentry A { loopback l $iso; set root=(l); linux /casper/vmlinuz x; initrd /casper/initrd; }",
        "menuentry A { loopback l /disc.iso; root=l; linux /casper/vmlinuz x; initrd /casper/initrd; }",
        "menuentry A { loopback l /disc.iso; search --set=root --file /casper/vmlinuz; linux /casper/vmlinuz x\n"
        "initrd /casper/initrd; }",
        "menuentry A { loopback l /disc.iso; search --set=r --label LIVE; linux ($r)/casper/vmlinuz x\n"
        "initrd ($r)/casper/initrd; }",
        "loopback l /disc.iso\nif [ -f (l)/casper/initrd ]; then menuentry A {\n"
        "linux (l)/casper/v* x; initrd (l)/casper/initrd; }\nfi",
        "submenu S { loopback l /disc.iso\nmenuentry A { linux (l)/casper/vmlinuz x; initrd (l)/casper/initrd; } }",
    ],
)
def test_kernel_out_of_a_disc(script: str, disc: bytes, tmp_path: Path) -> None:
    assert _boot(_guest(tmp_path, script, {"disc.iso": disc, "vmlinuz": b"no"})) == (KERNEL, [b"initrd"], b"x")


@pytest.mark.parametrize("command", ["source", "configfile"])
def test_menu_out_of_a_disc(command: str, disc: bytes, tmp_path: Path) -> None:
    script = f"loopback loop /disc.iso\nroot=loop\nexport root\n{command} (loop)/boot/grub/loopback.cfg\n"
    assert _boot(_guest(tmp_path, script, {"disc.iso": disc})) == (KERNEL, [b"initrd"], b"inner")


def test_disc_inside_of_an_image(disc: bytes, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    inner = _guest(tmp_path / "inner", "", {"disc.iso": disc}).read_bytes()
    script = "menuentry A { loopback a /inner.img; loopback b (a)/disc.iso; linux (b)/casper/vmlinuz; }"
    assert _boot(_guest(tmp_path, script, {"inner.img": inner}))[0] == KERNEL


def test_entries_may_give_one_name_to_several_files(disc: bytes, tmp_path: Path) -> None:
    script = "".join(f"menuentry {name} {{ loopback loop /{name}; linux (loop)/casper/vmlinuz; }}\n" for name in "ab")
    image = _guest(tmp_path, script, {"a": disc, "b": disc.replace(b"kernel of", b"KERNEL OF")})
    with open_devices(str(image)) as devices:
        menu = _load(devices)
        kernels = [open_entry(devices, menu, entry)[0] for entry in menu.entries]
        assert [_content(kernel)[:9] for kernel in kernels] == [b"kernel of", b"KERNEL OF"]


def test_menu_as_json_names_the_loop(disc: bytes, tmp_path: Path, run_cli: RunCli) -> None:
    script = "menuentry A { loopback loop /disc.iso; linux (loop)/casper/vmlinuz x; initrd (loop)/casper/initrd; }"
    result = run_cli("menu", "--json", _guest(tmp_path, script, {"disc.iso": disc}))
    (entry,) = json.loads(result.stdout)["entries"]
    assert (entry["root"], entry["kernel"], entry["initrds"]) == ("(loop0)", "/casper/vmlinuz", ["/casper/initrd"])


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("loopback loop /missing.iso", "/missing.iso"),
        ("loopback loop /text", "no known file system"),
        ("loopback loop /empty", "no known file system"),
        ("loopback loop /boot", "/boot"),
        ("loopback loop (hd7)/disc.iso", "loop64"),
    ],
)
def test_what_is_no_image_says_why(command: str, reason: str, tmp_path: Path) -> None:
    """And the file of the same name on the menu's own volume is not taken in its place."""
    image = _guest(
        tmp_path,
        f"menuentry A {{ {command}; linux (loop)/vmlinuz; }}",
        {"text": b"no image" * 100, "empty": b"", "vmlinuz": b"another"},
    )
    with open_devices(str(image)) as devices:
        menu = _load(devices)
        for start in (run_entry, open_entry):
            with pytest.raises(PvbootError, match=reason):
                start(devices, menu, menu.entries[0])


@pytest.mark.parametrize(
    ("commands", "status"),
    [
        ("loopback l /disc.iso", "0"),
        ("loopback -d l", "1"),
        ("loopback l /disc.iso; loopback -d l", "0"),
        ("loopback l /disc.iso; loopback -d l; [ -e (l)/casper ]", "1"),
        ("loopback l /disc.iso; [ -d (l)/casper ]", "0"),
        ("loopback", "1"),
        ("loopback l", "1"),
        ("loopback hd0 /disc.iso", "1"),
        ("loopback 'a b' /disc.iso", "1"),
        ("loopback l /none", "1"),
    ],
)
def test_status(commands: str, status: str, disc: bytes, tmp_path: Path) -> None:
    _fill(tmp_path, {"boot/grub/grub.cfg": f"{commands}\nmenuentry $? {{ linux /k; }}".encode(), "disc.iso": disc})
    with open_devices(str(tmp_path)) as devices:
        assert [entry.title for entry in _load(devices).entries] == [status]


def test_loops_are_counted(disc: bytes, tmp_path: Path) -> None:
    lines = [f"loopback l{number} {'/' * number}/disc.iso" for number in range(LOOP_LIMIT + 5)]
    again = [f"loopback -d l{number}\n{line}" for number, line in enumerate(lines)]
    for script in (lines, again):
        _fill(tmp_path, {"boot/grub/grub.cfg": "\n".join([*script, "menuentry A {}"]).encode(), "disc.iso": disc})
        with open_devices(str(tmp_path)) as devices:
            warnings = [str(warning) for warning in _load(devices).warnings]
            assert len([text for text in warnings if str(LOOP_LIMIT) in text]) == 5


def test_loops_inside_each_other_are_counted() -> None:
    devices = Devices(())
    device = Device("hd")
    with pytest.raises(PvbootError, match="inside each other"):
        for _ in range(10):
            device = devices.add_loop(device, "/x")
    assert device == Device("loop", 3)


def test_grub_legacy_knows_no_loops(disc: bytes, tmp_path: Path) -> None:
    _fill(tmp_path, {"disc.iso": disc})
    with open_devices(str(tmp_path)) as devices:
        assert devices.mount(devices.add_loop(Device("hd"), "/disc.iso")).kind == "iso9660"
        with pytest.raises(GrubError):
            devices.open("(loop0)/casper/vmlinuz", Device("hd"))


@pytest.mark.parametrize(
    ("menu", "text", "kernel"),
    [
        ("boot/grub/grub.cfg", "menuentry A { linux '/a kernel' x; initrd '/an initrd'; }", b"whole"),
        ("boot/extlinux/extlinux.conf", "LABEL A\n LINUX /kernel\n APPEND x\n INITRD /an initrd\n", b"plain"),
        ("loader/entries/a.conf", "title A\nlinux /a kernel\ninitrd /an initrd\noptions x\n", b"whole"),
    ],
)
def test_blanks_in_names(menu: str, text: str, kernel: bytes, tmp_path: Path) -> None:
    tree = {"a kernel": b"whole", "kernel": b"plain", "a": b"cut", "an initrd": b"initrd", "an": b"cut"}
    assert _boot(_guest(tmp_path, text, tree, menu)) == (kernel, [b"initrd"], b"x")
