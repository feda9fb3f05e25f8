"""Real guests, unmodified, in strict mode: GRUB to its prompt, Debian's kernel to user space and power-off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pvboot.handoff.machine import start_by_kexec, start_direct
from pvboot.kernel.loader import parse_kernel
from pvboot.kexec.layout import BytesBlob, plan_layout
from pvboot.machine.machine import Machine
from pvboot.machine.outcome import RunLimits, describe
from tests.machine.guests import wait_for

Parts = Callable[[str], Path]
GRUB = {64: "grub-x86_64-xen.bin", 32: "grub-i386-xen.bin"}
START = {"direct": start_direct, "kexec": start_by_kexec}
LIMITS = RunLimits(cpu_seconds=100, silent_seconds=60, idle_seconds=60)


class Booted:
    """A machine about to run a kernel file, with its console's text."""

    def __init__(
        self,
        kernel: Path,
        *,
        how: str = "direct",
        mib: int = 256,
        initrd: Path | None = None,
        cmdline: str = "",
        seed: int | None = None,
        interactive: bool = False,
        strict: bool = True,
    ) -> None:
        image = parse_kernel(kernel.read_bytes(), name=kernel.name)
        ramdisk = BytesBlob(initrd.read_bytes()) if initrd else None
        layout = plan_layout(image, mib * 256, cmdline=cmdline.encode(), ramdisk=ramdisk)
        self.text = bytearray()
        self.machine = Machine(
            image.width, mib * 256, frame_seed=seed, output=self.text.extend, interactive=interactive, strict=strict
        )
        START[how](self.machine, layout)


@pytest.mark.parametrize("seed", [None, 5])
@pytest.mark.parametrize("how", ["direct", "kexec"])
@pytest.mark.parametrize("width", [64, 32])
def test_grub_to_its_prompt_and_halt(parts: Parts, width: int, how: str, seed: int | None) -> None:
    guest = Booted(parts(GRUB[width]), how=how, mib=64, seed=seed)
    outcome = guest.machine.run(LIMITS, until=b"grub> ")
    assert outcome.reason == "until", describe(outcome)
    guest.machine.feed(b"echo typed $root\rhalt\r")
    outcome = guest.machine.run(LIMITS)
    assert outcome.reason == "poweroff" and outcome.code == 0, describe(outcome)
    assert b"typed" in guest.text
    assert not outcome.counters.get("type conflicts")


@pytest.mark.parametrize("width", [64, 32])
def test_grub_without_strict_typing(parts: Parts, width: int) -> None:
    guest = Booted(parts(GRUB[width]), mib=64, strict=False)
    assert guest.machine.run(LIMITS, until=b"grub> ").reason == "until"


def test_typing_at_a_grub_prompt_that_is_already_waiting(parts: Parts) -> None:
    """GRUB polls the ring; the input comes while it does, from another thread."""
    guest = Booted(parts(GRUB[64]), mib=64, interactive=True)

    def type_when_asked() -> None:
        wait_for(guest.text, b"grub> ")
        time.sleep(0.2)  # let it poll; nothing depends on that it does
        guest.machine.feed(b"halt\r")

    typist = threading.Thread(target=type_when_asked)
    typist.start()
    outcome = guest.machine.run(LIMITS)
    typist.join()
    assert outcome.reason == "poweroff", describe(outcome)


@pytest.mark.slow
def test_a_shell_on_the_console(parts: Parts) -> None:
    """Typed input reaches a user program, and the guest sleeps while it waits for it."""
    guest = Booted(
        parts("vmlinuz-6.1"), initrd=parts("initrd-busybox.cpio.gz"), cmdline="console=hvc0 single", interactive=True
    )
    outcome = guest.machine.run(LIMITS, until=b"recovery shell")
    assert outcome.reason == "until", "\n".join(describe(outcome))
    guest.machine.feed(b"echo the answer is $((40 + 2))\n")
    assert guest.machine.run(LIMITS, until=b"the answer is 42").reason == "until"
    guest.machine.feed(b"exit\n")
    outcome = guest.machine.run(LIMITS)
    assert outcome.reason == "poweroff", "\n".join(describe(outcome))


@pytest.mark.slow
def test_a_kernel_that_dies_silently_explains_itself(parts: Parts) -> None:
    """No console and no initramfs: the panic is found in the kernel's own memory."""
    guest = Booted(parts("vmlinuz-6.1"), how="kexec", seed=2, cmdline="console=null panic=0")
    outcome = guest.machine.run(LIMITS)
    assert outcome.reason == "crash" and outcome.report is not None
    assert any("Kernel panic" in line for line in outcome.report.kernel_log)
    text = "\n".join(describe(outcome))
    assert "VFS: Unable to mount root" in text and "ip=0x" in text and "sched_op" in text


@pytest.mark.slow
def test_a_kernel_stopped_early_explains_itself(parts: Parts) -> None:
    """Stopped after the CPU time in which the same kernel has shown its first lines on a console."""
    visible = Booted(parts("vmlinuz-6.1"), seed=4, cmdline="console=hvc0 earlyprintk=xen")
    needed = visible.machine.run(LIMITS, until=b"Memory: ").cpu_seconds
    outcome = Booted(parts("vmlinuz-6.1"), seed=4, cmdline="console=null").machine.run(RunLimits(cpu_seconds=needed))
    assert outcome.reason == "cpu-limit" and outcome.report is not None
    assert outcome.report.kernel_log[0].startswith("Linux version") or len(outcome.report.kernel_log) > 20
