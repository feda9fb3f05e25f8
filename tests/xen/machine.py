"""A machine in QEMU that runs the real Xen hypervisor and its dom0, and the channel to the server in dom0."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures import cpio

DOM0_FILES = Path(__file__).parent / "dom0"
MACHINE_MIB = 1536
DOM0_MIB = 512
# TCG: a CPU without SMAP, for QEMU 7.2's `iret` would fault on it in a PV kernel; RDRAND spares the first xl a wait for
# entropy.  KVM: no nested virtualisation, which PV guests do not need.
CPU = {"tcg": "qemu64,svm=off,+rdrand", "kvm": "host,vmx=off,svm=off"}
ACCELERATOR = {"tcg": "tcg,thread=multi,tb-size=512", "kvm": "kvm"}
# TCG lives on translated code that stays where it was: no address space randomisation.
DOM0_COMMAND_LINE = (
    "console=hvc0 quiet loglevel=3 mitigations=off norandmaps init_on_alloc=0 rcupdate.rcu_expedited=1 lsm=landlock "
    "audit=0 cryptomgr.notests nowatchdog"
)
BOOT_SECONDS = {"tcg": 150, "kvm": 60}  # six and about two when the host is idle
KVM_CREATE_API_VERSION = 0xAE00


class MachineError(Exception):
    """The machine did not come up, died or did not answer in time; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command in dom0 did: its exit status (None: killed, time ran out), output, and keyboard steps taken."""

    status: int | None
    output: str
    steps: int


def kvm_opens() -> bool:
    """Whether /dev/kvm answers; that it can run a hypervisor is another question."""
    try:
        device = os.open("/dev/kvm", os.O_RDWR)
    except OSError:
        return False
    try:
        return fcntl.ioctl(device, KVM_CREATE_API_VERSION, 0) == 12
    except OSError:
        return False
    finally:
        os.close(device)


def make_initramfs(part: Path, busybox: Path) -> bytes:
    """dom0's initramfs, not compressed: it is read once."""
    modules = sorted((part / "modules").iterdir())
    return cpio.newc_archive(
        [
            *(cpio.directory(name) for name in ("bin", "dev", "modules", "root")),
            cpio.character_device("dev/console", 5, 1),
            cpio.regular("bin/busybox", busybox.read_bytes(), 0o755),
            cpio.regular("init", (DOM0_FILES / "initramfs-init").read_bytes(), 0o755),
            *(cpio.regular(f"modules/{path.name}", path.read_bytes()) for path in modules),
        ]
    )


class Machine:
    """One running machine; `share` is the host's folder that dom0 sees as /host, `log` its serial line and QEMU's
    messages."""

    def __init__(self, part: Path, busybox: Path, folder: Path, accelerator: str) -> None:
        self.accelerator = accelerator
        self.share = folder / "share"
        self.log = folder / f"serial-{accelerator}.log"
        self._received = b""
        initramfs = folder / "initramfs"
        initramfs.write_bytes(make_initramfs(part, busybox))
        # Commas would end QEMU's values, a long path does not fit a socket's address: plain names in one folder.
        for name in ("xen", "vmlinux", "root.ext4"):
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to(part / name)
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *qemu_command(accelerator)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._channel = self._connect(folder)
            self._wait_line(time.monotonic() + BOOT_SECONDS[accelerator])
        except BaseException:
            self.close()
            raise

    def _connect(self, folder: Path) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 30
        while True:
            # Through the folder's descriptor, so that a long path to it does no harm.
            descriptor = os.open(folder, os.O_PATH)
            try:
                channel.connect(f"/proc/self/fd/{descriptor}/server.socket")
                return channel
            except OSError:
                self._check_alive()
                if time.monotonic() > deadline:
                    raise MachineError(f"no channel to QEMU\n{self.log_tail()}") from None
                time.sleep(0.05)
            finally:
                os.close(descriptor)

    def _check_alive(self) -> None:
        if self._process.poll() is not None:
            raise MachineError(f"QEMU ended with status {self._process.returncode}\n{self.log_tail()}")
        if self.accelerator == "kvm" and b"emulation failure" in self.log.read_bytes():
            raise MachineError(f"this KVM cannot run Xen\n{self.log_tail()}")

    def _wait_line(self, deadline: float) -> bytes:
        self._channel.settimeout(1)
        while b"\n" not in self._received:
            if time.monotonic() > deadline:
                raise MachineError(f"dom0 did not answer in time\n{self.log_tail()}")
            try:
                data = self._channel.recv(1 << 16)
            except TimeoutError:
                self._check_alive()
                continue
            except ConnectionError:
                data = b""
            if not data:
                raise MachineError(f"QEMU ended\n{self.log_tail()}")
            self._received += data
        line, self._received = self._received.split(b"\n", 1)
        return line

    def log_tail(self) -> str:
        """The last lines of the serial log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-40:])

    def run(self, *argv: str, seconds: float = 120, steps: Sequence[tuple[str, str]] | None = None) -> Answer:
        """Run a command in dom0; with `steps` on a terminal, typing keys when a pattern shows up (see dom0/server.py).

        Raises `MachineError` when the machine does not answer; the command itself ends in `Answer.status`.
        """
        request: dict[str, object] = {"argv": argv, "seconds": seconds}
        if steps is not None:
            request["steps"] = steps
        self._channel.settimeout(30)
        self._channel.sendall(json.dumps(request).encode() + b"\n")
        # The server keeps the command's time; ours only notices that it is gone.
        answer = json.loads(self._wait_line(time.monotonic() + seconds + 60))
        return Answer(answer["status"], answer["output"], answer["steps"])

    def close(self) -> None:
        """End QEMU; the machine's disks are throw-away."""
        self._process.kill()
        self._process.wait()
        channel = getattr(self, "_channel", None)
        if channel is not None:
            channel.close()


def qemu_command(accelerator: str) -> list[str]:
    """QEMU as a PC that starts Xen; file names are relative to the machine's folder."""
    return [
        "qemu-system-x86_64",
        "-nodefaults",
        "-display",
        "none",
        "-serial",
        "stdio",
        "-no-reboot",
        "-M",
        "pc",
        "-accel",
        ACCELERATOR[accelerator],
        "-cpu",
        CPU[accelerator],
        "-smp",
        "1",
        "-m",
        str(MACHINE_MIB),
        "-kernel",
        "xen",
        "-append",
        f"console=com1 com1=115200,8n1 dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M dom0_max_vcpus=1",
        "-initrd",
        f"vmlinux {DOM0_COMMAND_LINE},initramfs",
        "-drive",
        "file=root.ext4,format=raw,if=none,id=root,cache=unsafe,snapshot=on",
        "-device",
        "virtio-blk-pci,drive=root",
        "-fsdev",
        "local,id=host,path=share,security_model=none,readonly=on",
        "-device",
        "virtio-9p-pci,fsdev=host,mount_tag=host",
        "-device",
        "virtio-serial-pci",
        "-chardev",
        "socket,id=server,path=server.socket,server=on,wait=off",
        "-device",
        "virtserialport,chardev=server,name=server",
    ]


@contextlib.contextmanager
def running(
    part: Path, busybox: Path, folder: Path, prepare: Callable[[Path], None], accelerator: str | None = None
) -> Iterator[Machine]:
    """A running machine whose share holds the files of `dom0/` and what `prepare(share)` adds.

    `accelerator` is "kvm" or "tcg"; None takes KVM where it can run Xen, else TCG.  Raises `MachineError`.
    """
    if shutil.which("qemu-system-x86_64") is None:
        raise MachineError("qemu-system-x86_64 not found (see fixtures/debian-packages.txt)")
    share = folder / "share"
    share.mkdir(parents=True)
    for path in DOM0_FILES.iterdir():
        shutil.copy(path, share / path.name)
        (share / path.name).chmod(0o755)
    prepare(share)
    machine = None
    if accelerator != "tcg" and (accelerator == "kvm" or kvm_opens()):
        try:
            machine = Machine(part, busybox, folder, "kvm")
        except MachineError:
            if accelerator == "kvm":
                raise
    if machine is None:
        machine = Machine(part, busybox, folder, "tcg")
    try:
        yield machine
    finally:
        machine.close()
