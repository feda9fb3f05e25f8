"""The tiny kernels judge, from inside the guest, the domains that pvboot builds and the relocations it carries out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.make_images import MODULE, MODULE_WORDS
from pvboot.handoff.machine import start_by_kexec, start_direct
from pvboot.kernel.loader import parse_kernel
from pvboot.kexec.layout import BytesBlob, DomainLayout, plan_layout
from pvboot.machine.machine import Machine
from pvboot.machine.outcome import Outcome, RunLimits
from tests import REPOSITORY

KERNELS = REPOSITORY / "fixtures" / "kernels"
WAYS: dict[str, Callable[[Machine, DomainLayout], object]] = {"direct": start_direct, "kexec": start_by_kexec}
NAMES = ["tiny64", "tiny64-p2m", "tiny32"]


class Guest:
    """A tiny kernel in a machine, built and not yet running."""

    def __init__(
        self,
        name: str,
        way: str,
        *,
        cmdline: str = "",
        module: bool = False,
        nr_pages: int = 0x4000,
        frame_seed: int | None = 7,
    ) -> None:
        kernel = parse_kernel((KERNELS / f"{name}.elf").read_bytes(), name=name)
        self.output = bytearray()
        self.machine = Machine(kernel.width, nr_pages, frame_seed=frame_seed, output=self.output.extend)
        self.layout = plan_layout(
            kernel,
            nr_pages,
            ramdisk=BytesBlob(MODULE) if module else None,
            cmdline=f"console=hvc0 pages={nr_pages} {cmdline}".encode(),
        )
        WAYS[way](self.machine, self.layout)

    def run(self) -> Outcome:
        return self.machine.run(RunLimits(cpu_seconds=30))

    @property
    def findings(self) -> list[str]:
        """The lines that are not about something in order."""
        return [line for line in self.output.decode().splitlines() if not line.endswith(" ok")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("module", [False, True], ids=["alone", "with-module"])
@pytest.mark.parametrize("name", NAMES)
def test_the_guest_finds_everything_in_order(name: str, module: bool, way: str) -> None:
    guest = Guest(name, way, cmdline=MODULE_WORDS if module else "", module=module)
    outcome = guest.run()
    assert outcome.reason == "poweroff", guest.output.decode()
    assert guest.findings[-1] == f"pvboot-{name}: all checks passed"
    assert guest.output.count(b" ok\n") > 40


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("nr_pages", [1801, 0x4001, 0x40123])
@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_and_frames_in_order(name: str, nr_pages: int, way: str) -> None:
    guest = Guest(name, way, nr_pages=nr_pages, frame_seed=None)
    assert guest.run().reason == "poweroff", guest.output.decode()


def test_a_wrong_module_is_noticed() -> None:
    guest = Guest("tiny64", "kexec", cmdline="modlen=100 modsum=0x1", module=True)
    outcome = guest.run()
    assert outcome.reason == "crash"
    assert any("FAILED: module checksum" in line for line in guest.findings)


def test_a_line_typed_on_the_console_comes_back() -> None:
    guest = Guest("tiny64", "kexec", cmdline="echo")
    guest.machine.feed(b"typed ahead\r")
    assert guest.run().reason == "poweroff"
    assert "pvboot-tiny64: echo: typed ahead" in guest.findings


# --- Planted faults: a judge that finds nothing wrong is worth nothing


def frame(guest: Guest, pfn: int) -> int:
    return int(guest.machine.p2m[pfn])


def first_pfn(guest: Guest, segment: str) -> int:
    return guest.layout.segment(segment).pfn


def spoil_padding(guest: Guest) -> None:
    guest.machine.write(frame(guest, guest.layout.mapped_pages - 1), 4000, b"\x07")


def spoil_page_below_the_kernel(guest: Guest) -> None:
    guest.machine.write(frame(guest, 0x3F), 1, b"\x07")


def spoil_p2m(guest: Guest) -> None:
    """Two entries trade places, as a relocation that forgets one of its moves would leave them."""
    mfn = frame(guest, first_pfn(guest, "p2m") + 1)
    entries = guest.machine.read(mfn, 0, 16)
    guest.machine.write(mfn, 0, entries[8:] + entries[:8])


def spoil_m2p(guest: Guest) -> None:
    guest.machine.m2p[frame(guest, 0x300)] = 0x301


def spoil_start_info_flags(guest: Guest) -> None:
    guest.machine.write(frame(guest, first_pfn(guest, "start_info")), 48, b"\x01")


def spoil_module(guest: Guest) -> None:
    guest.machine.write(frame(guest, first_pfn(guest, "ramdisk") + 2), 100, b"?")


def spoil_page_tables(guest: Guest) -> None:
    """Two pages of the padding trade frames in the kernel's mapping."""
    pfn = guest.layout.mapped_pages - 2
    table = first_pfn(guest, "pgtables") + guest.layout.segment("pgtables").pages - 1
    at = pfn % 512 * 8
    entries = guest.machine.read(frame(guest, table), at, 16)
    guest.machine.write(frame(guest, table), at, entries[8:] + entries[:8])


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (spoil_padding, "FAILED: padding expected zero"),
        (spoil_page_below_the_kernel, "FAILED: below the kernel expected zero"),
        (spoil_p2m, "FAILED: p2m entries that agree with M2P"),
        (spoil_m2p, "FAILED: p2m entries that agree with M2P"),
        (spoil_start_info_flags, "FAILED: start_info flags"),
        (spoil_module, "FAILED: module checksum"),
        (spoil_page_tables, "FAILED: complaints about page tables expected 0x0 found 0x2"),
    ],
)
def test_a_planted_fault_is_found(spoil: Callable[[Guest], None], complaint: str) -> None:
    guest = Guest("tiny64", "direct", cmdline=MODULE_WORDS, module=True)
    spoil(guest)
    assert guest.run().reason == "crash"
    assert any(complaint in line for line in guest.findings), guest.output.decode()
