"""The verbs with URLs, as a user runs them."""

from __future__ import annotations

import io
import json
import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.make_images import KERNELS
from pvboot.cli.meter import meter_for
from tests.conftest import RunCli
from tests.fetch.conftest import sha256
from tests.fetch.servers import Served, http_server, tftpd_hpa

MENU = "default 0\ntitle tiny\nroot (nd)\nkernel /tiny64.elf console=hvc0\ninitrd /module.txt\n"
FAR_FROM_NET = {"requests", "urllib3", "tftpy", "pvboot.fetch.http_client", "pvboot.fetch.tftp_client", "pvboot.fetch"}


@pytest.fixture
def guest(web: Served) -> str:
    (web.root / "menu.lst").write_text(MENU)
    (web.root / "tiny64.elf").write_bytes((KERNELS / "tiny64.elf").read_bytes())
    (web.root / "module.txt").write_bytes(b"a module\n")
    return web.url


@pytest.mark.parametrize("name", ["menu.lst", "", "guest.img"])
def test_menu(run_cli: RunCli, web: Served, guest: str, images: Callable[[str], Path], name: str) -> None:
    (web.root / "guest.img").write_bytes(images("mbr.img").read_bytes())
    done = run_cli("menu", "--json", f"{guest}/{name}")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["source"] == f"{guest}/{name}"
    volume = {"menu.lst": "(nd)", "": "(hd0)", "guest.img": "(hd0,0)"}[name]
    assert document["menu"]["volume"] == volume and document["entries"][0]["kernel"].endswith("/tiny64.elf")


@pytest.mark.parametrize("name", ["menu.lst", ""])
def test_boot(run_cli: RunCli, guest: str, name: str) -> None:
    done = run_cli("boot", f"{guest}/{name}", "--no-menu")
    assert done.returncode == 0, done.stderr
    assert "guest ended: poweroff" in done.stderr


def test_boot_by_tftp(run_cli: RunCli, web: Served, guest: str) -> None:
    web.root.chmod(0o755)
    with tftpd_hpa(web.root) as url:
        done = run_cli("boot", f"{url}/menu.lst", "--no-menu", "-v")
        absent = run_cli("menu", f"{url}/nothing")
    assert (absent.returncode, absent.stdout, absent.stderr.count("\n")) == (1, "", 1)
    assert done.returncode == 0, done.stderr
    size = (KERNELS / "tiny64.elf").stat().st_size
    assert f"fetched {url}/tiny64.elf: {size} bytes in" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "tftp"])
def test_debians_kernel_boots_from_a_server(
    run_cli: RunCli, web: Served, parts: Callable[[str], Path], scheme: str
) -> None:
    menu = "title x\nkernel (nd)/vmlinuz console=hvc0 earlyprintk=xen\ninitrd (nd)/initrd\n"
    (web.root / "menu.lst").write_text(menu)
    for name, part in {"vmlinuz": "vmlinuz-6.1", "initrd": "initrd-busybox.cpio.gz"}.items():
        (web.root / name).write_bytes(parts(part).read_bytes())
    web.root.chmod(0o755)
    with tftpd_hpa(web.root) as tftp:
        done = run_cli("boot", f"{web.url if scheme == 'http' else tftp}/menu.lst", "--no-menu")
    assert done.returncode == 0, done.stderr
    assert "Linux version 6.1." in done.stdout and "guest ended: poweroff" in done.stderr


def test_plan(run_cli: RunCli, guest: str) -> None:
    whole = run_cli("plan", f"{guest}/menu.lst", "--json")
    parts = run_cli(
        "plan",
        "--kernel",
        f"{guest}/tiny64.elf",
        "--ramdisk",
        f"{guest}/module.txt",
        "--cmdline",
        "console=hvc0",
        "--json",
    )
    assert (whole.returncode, parts.returncode) == (0, 0), parts.stderr
    assert json.loads(whole.stdout)["segments"] == json.loads(parts.stdout)["segments"]


def test_plan_holds_a_kernel_to_its_checksum(run_cli: RunCli, guest: str) -> None:
    good = sha256((KERNELS / "tiny64.elf").read_bytes())
    assert run_cli("plan", "--kernel", f"{guest}/tiny64.elf#sha256={good}").returncode == 0
    done = run_cli("plan", "--kernel", f"{guest}/tiny64.elf#sha256={good[::-1]}")
    assert (done.returncode, done.stdout) == (3, "") and "checksum is wrong" in done.stderr


def test_ls_cat_cp(run_cli: RunCli, guest: str, tmp_path: Path) -> None:
    done = run_cli("ls", f"{guest}/")
    assert done.stdout.split() == ["menu.lst", "module.txt", "tiny64.elf"]
    assert run_cli("ls", f"{guest}/", "/module.txt", "--json").stdout.startswith('{"volume": "(hd0)"')
    assert run_cli("cat", f"{guest}/", "/module.txt").stdout == "a module\n"
    assert run_cli("cat", f"{guest}/menu.lst", "(nd)/module.txt").stdout == "a module\n"
    assert run_cli("cp", f"{guest}/", "/tiny64.elf", tmp_path / "copy").returncode == 0
    assert (tmp_path / "copy").read_bytes() == (KERNELS / "tiny64.elf").read_bytes()


def test_cat_asks_for_one_file(run_cli: RunCli, web: Served, guest: str) -> None:
    run_cli("cat", f"{guest}/", "/module.txt")
    assert web.asked == [("HEAD", "/module.txt", ""), ("GET", "/module.txt", "")]


def test_sums(run_cli: RunCli, web: Served, guest: str, tmp_path: Path) -> None:
    sums = tmp_path / "SHA256SUMS"
    listed = subprocess.run(["sha256sum", *sorted(os.listdir(web.root))], cwd=web.root, capture_output=True, check=True)
    sums.write_bytes(listed.stdout)
    assert run_cli("plan", f"{guest}/menu.lst", "--sums", sums).returncode == 0
    (web.root / "module.txt").write_bytes(b"evil")
    done = run_cli("plan", f"{guest}/menu.lst", "--sums", sums)
    assert done.returncode != 0 and "checksum is wrong" in done.stderr and done.stderr.count("\n") == 1


def test_sums_of_a_tree_whose_menu_is_not_the_first_that_is_looked_for(
    run_cli: RunCli, web: Served, guest: str, tmp_path: Path
) -> None:
    (web.root / "boot/grub").mkdir(parents=True)
    (web.root / "menu.lst").rename(web.root / "boot/grub/menu.lst")
    sums = tmp_path / "SHA256SUMS"
    listed = subprocess.run(
        ["sha256sum", "tiny64.elf", "module.txt", "boot/grub/menu.lst"], cwd=web.root, capture_output=True, check=True
    )
    sums.write_bytes(listed.stdout)
    done = run_cli("plan", f"{guest}/", "--sums", sums)
    assert (done.returncode, done.stderr) == (0, "")
    sums.write_bytes(b"".join(listed.stdout.splitlines(keepends=True)[:2]))
    done = run_cli("plan", f"{guest}/", "--sums", sums)
    assert (done.returncode, done.stdout) == (3, "") and "is in the list of checksums" in done.stderr


@pytest.mark.parametrize("by", ["--net", "environment"])
def test_a_local_menu_with_an_allowed_server(run_cli: RunCli, guest: str, tmp_path: Path, by: str) -> None:
    menu = tmp_path / "menu.lst"
    menu.write_text("title x\nkernel (nd)/tiny64.elf\n")
    denied = run_cli("plan", menu)
    assert denied.returncode == 1 and "--net URL" in denied.stderr
    options = ("--net", f"{guest}/") if by == "--net" else ()
    environment = {} if options else {"PVBOOT_NET": f"{guest}/"}
    assert run_cli("plan", menu, *options, env=environment).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["menu", "{url}/nothing"], 1),
        (["menu", "{closed}/menu.lst"], 4),
        (["menu", "{closed}/"], 4),
        (["ls", "{closed}/"], 4),
        (["boot", "{url}/broken.lst", "--no-menu"], 4),
        (["cat", "{url}/", "/nothing"], 1),
        (["ls", "tftp://127.0.0.1/"], 3),
        (["menu", "http://user:secret@h:0/"], 2),
        (["plan", "--kernel", "{closed}/k"], 4),
        (["menu", "{url}/menu.lst", "--sums", "/nowhere"], 2),
        (["menu", "{url}/menu.lst", "--net", "x"], 2),
    ],
)
def test_errors_are_one_line_with_their_exit_code(
    run_cli: RunCli, web: Served, guest: str, arguments: list[str], code: int
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}"
        (web.root / "broken.lst").write_text("title x\nkernel (nd)/no-auth\n")
        web.misbehave = lambda handler: handler.path == "/no-auth" and not handler.reply(401, b"")
        done = run_cli(*[argument.format(url=guest, closed=closed) for argument in arguments])
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert [line.startswith("pvboot") for line in done.stderr.splitlines()].count(True) == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("pvboot") and "Traceback" not in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("arguments", [["menu", "{0}"], ["ls", "{0}"], ["cat", "{0}", "/boot/module.txt"]])
def test_local_sources_import_nothing_of_the_network(images: Callable[[str], Path], arguments: list[str]) -> None:
    script = (
        "import sys\nfrom pvboot.cli.main import main\ncode = main(sys.argv[1:])\n"
        "print('\\n', *sys.modules, file=sys.stderr)\nsys.exit(code)"
    )
    command = [sys.executable, "-c", script, *[argument.format(images("mbr.img")) for argument in arguments]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not FAR_FROM_NET & set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(("scheme", "absent"), [("http", "tftpy"), ("tftp", "requests")])
def test_a_protocol_imports_its_own_library_only(web: Served, guest: str, scheme: str, absent: str) -> None:
    script = (
        "import sys\nfrom pvboot.cli.main import main\ncode = main(sys.argv[1:])\n"
        "print('\\n', *sys.modules, file=sys.stderr)\nsys.exit(code)"
    )
    web.root.chmod(0o755)
    with tftpd_hpa(web.root) as tftp:
        url = guest if scheme == "http" else tftp
        done = subprocess.run([sys.executable, "-c", script, "menu", f"{url}/menu.lst"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported = set(done.stderr.splitlines()[-1].split())
    assert absent not in imported and {"requests", "tftpy"} & imported


# --- the meter


class Screen(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def test_no_meter_without_a_terminal() -> None:
    assert meter_for(Screen(terminal=False))("x") is None


def test_a_long_transfer_is_shown_and_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("pvboot.cli.meter.time.monotonic", lambda: clock[0])
    screen = Screen(terminal=True)
    meter = meter_for(screen)("http://h/\x1bfile")
    assert meter is not None
    meter(10, 100)
    assert screen.getvalue() == ""  # not long yet
    clock[0] += 2
    meter(50, 100)
    meter(51, 100)  # too soon after the last
    assert screen.getvalue().count("50 %") == 1 and "51 %" not in screen.getvalue()
    assert "\x1bf" not in screen.getvalue()
    clock[0] += 2
    meter(7_000_000, None)
    assert "7.0 MB" in screen.getvalue()
    meter(100, 100)
    assert screen.getvalue().endswith("\r\x1b[K")


def test_a_short_transfer_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvboot.cli.meter.time.monotonic", lambda: 0.0)
    screen = Screen(terminal=True)
    meter = meter_for(screen)("x")
    assert meter is not None
    meter(1, 2)
    meter(2, 2)
    assert screen.getvalue() == ""


def test_the_bar_stands_on_standard_error_of_a_terminal(tmp_path: Path) -> None:
    """A server that takes its time, and a user who watches."""

    def slow(handler):  # type: ignore[no-untyped-def]
        if handler.command == "HEAD":
            return False
        handler.begin(200, 500_000)
        for _ in range(10):
            handler.send(bytes(50_000))
            time.sleep(0.2)
        return True

    (tmp_path / "x").write_bytes(bytes(500_000))
    leader, follower = pty.openpty()
    with http_server(tmp_path) as served:
        served.misbehave = slow
        command = [sys.executable, "-m", "pvboot", "cat", f"{served.url}/", "/x"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=follower, stdin=subprocess.DEVNULL, timeout=60)
    os.close(follower)
    seen = os.read(leader, 65536).decode()
    os.close(leader)
    assert done.returncode == 0 and done.stdout == bytes(500_000)
    assert "%" in seen and "#" in seen
