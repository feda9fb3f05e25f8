"""Every damaged kernel ends in a reason or in what Xen's builder makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvboot.errors import KernelError
from pvboot.kernel.image import KernelImage
from pvboot.kernel.loader import parse_kernel
from tests.kernel.conftest import differences, refused_by_parser
from tests.oracle.bad import Case, bad_cases
from tests.oracle.run import run_many

# What Xen takes although the segment's data is missing or cut: it leaves zeros where the kernel should be.
BROKEN_BUT_TAKEN_BY_XEN = {"elf-cut-seg", "elf-off-out", "elf-filesz-gt-memsz"}
# The kernel is refused here; Xen notices a step later, when it builds or boots the domain.
REFUSED_LATER_BY_XEN = {"elf-paddr-unaligned", "feature-autotrans"}

# The true reason of every kernel that is refused, in words of the message.
REASONS = {
    "empty-file": "empty",
    "one-byte": "no kernel format",
    "text-file": "no kernel format that is known.*74 69 74 6c 65",
    "zeros": "no kernel format",
    "elf-cut-40": "ELF header is cut.*52 bytes.*found 40",
    "elf-cut-64": "program header table ends outside the file.*2 entries of 56 bytes at 0x40",
    "elf-cut-phdr": "program header table ends outside the file",
    "elf-cut-notes": "PT_NOTE segment 1 lies outside the file.*60 bytes",
    "elf-cut-seg": "segment's data lies outside the file.*2048 bytes.*12288",
    "grub-cut-half": "PT_NOTE segment 3 lies outside the file",
    "grub-cut-note-kept": "PT_NOTE segment 3 lies outside the file",
    "elf-bad-magic": "no kernel format.*7f 45 4c 47",
    "elf-big-endian": "program header table.*|big-endian",
    "elf-class-0": "EI_CLASS 0.*program header table",
    "elf-class-32in64": "EI_CLASS 1.*program header table",
    "elf-machine-arm64": "another processor.*183",
    "elf-phnum-0": "neither ELF notes nor a __xen_guest section",
    "elf-phnum-65535": "program header table ends outside.*65535 entries",
    "elf-phentsize-8": "e_phentsize is smaller.*56 or more.*8",
    "elf-phoff-out": "program header table ends outside.*0x10000000000",
    "elf-off-out": "segment's data lies outside the file",
    "elf-filesz-gt-memsz": "more bytes in the file than in memory.*0x1000.*0x3000",
    "elf-memsz-huge": "passes the end of the address space",
    "elf-paddr-wrap": "passes the end of the address space.*0xfffffffffffff000",
    "elf-paddr-unaligned": "not page aligned.*0xffffffff80100123",
    "elf-no-load": "nothing to load",
    "no-notes": "neither ELF notes nor a __xen_guest section",
    "notes-other-vendor": "not made for Xen's generic loader",
    "no-xen-version": 'another version of the Xen interface.*found ""',
    "xen-version-2": 'another version of the Xen interface.*"xen-2.0"',
    "no-loader-os-other": 'generic loader.*LOADER "", GUEST_OS "tiny"',
    "loader-pvgrub": 'generic loader.*LOADER "pvgrub"',
    "entry-low": r"entry point \(ENTRY\) is outside.*0xffffffff800ff000",
    "entry-high": r"entry point \(ENTRY\) is outside.*0xffffffff80106001",
    "virt-base-high": "outside the kernel.*0xffffffff80200000 .VIRT_BASE",
    "virt-base-missing": "PADDR_OFFSET is given without VIRT_BASE",
    "virt-base-both-missing": "outside the kernel.*0x0 .VIRT_BASE",
    "paddr-offset-base": r"outside the kernel.*0xffffffff80000000 \(PADDR_OFFSET",
    "virt-base-unaligned": "outside the kernel.*0xffffffff80000123 .VIRT_BASE",
    "virt-base-lower": "outside the kernel.*0xffffffff7ff00000 .VIRT_BASE",
    "init-p2m-inside": "INIT_P2M is inside the kernel",
    "feature-unknown-required": "requires a feature that is not known.*!frobnicate",
    "feature-dom0-required": "only run as dom0",
    "feature-autotrans": "auto-translated",
    "feature-requested": "does not support a requested feature.*writable_descriptor_tables",
    "pae-no-32": "does not run such guests.*PAE mode no.*xen-3.0-x86_32",
    "pae-missing-32": "does not run such guests.*PAE mode no",
    "pae-yes-ext-32": "does not run such guests.*PAE mode no",
    "caps-no-32": "does not run such guests.*found xen-3.0-x86_32p",
    "caps-no-64": "does not run such guests.*found xen-3.0-x86_64",
    "caps-empty": "does not run such guests.*no PV guest at all",
    "note-namesz-huge": "note ENTRY lies outside the file",
    "note-descsz-huge": "PT_NOTE segment 1 ends in a note.*0xfffffff0",
    "note-desc-3": "entry point.*note ENTRY has 3 bytes",
    "note-desc-4-in-64": r"entry point \(ENTRY\) is outside.*found 0x80100000",
    "notes-70000": "too many Xen notes.*1024",
    "guest-section-no-offset": "outside the kernel.*0xffffffff80000000 .PADDR_OFFSET",
    "guest-section-bad-ver": "another version of the Xen interface",
    "guest-section-empty": "generic loader.*GUEST_OS",
    "bz-proto-207": "boot protocol too old.*0x0208.*0x0207",
    "bz-payload-off": "payload lies outside the file.*0x1000400",
    "bz-payload-len": "payload lies outside the file.*0x1000000 bytes",
    "bz-payload-empty": "unknown payload compression.*nothing",
    "bz-unknown-magic": "unknown payload compression.*de ad be ef",
    "bz-not-elf": "gzip payload.*not an ELF image.*68 65 6c 6c 6f",
    "bz-no-notes": "gzip payload.*neither ELF notes",
    "bz-gzip-cut": "gzip payload",
    "bz-gzip-crc": "gzip payload.*damaged: incorrect data check",
    "bz-gzip-isize-small": "gzip payload: unpacks to more than it claims.*116 bytes",
    "bz-gzip-isize-2g": "claims more unpacked bytes than allowed.*1073741824.*2147483648",
    "bz-bzip2-cut": "bzip2 payload",
    "bz-bzip2-corrupt": "bzip2 payload",
    "bz-lzma-cut": "lzma payload",
    "bz-lzma-corrupt": "lzma payload.*damaged",
    "bz-xz-cut": "xz payload",
    "bz-xz-corrupt": "xz payload.*damaged",
    "bz-zstd-cut": "zstd payload",
    "bz-zstd-corrupt": "zstd payload.*damaged",
    "bz-zstd-nosize": "zstd payload.*ends early",
    "bz-short": "cut inside its setup header.*0x250.*0x230",
    "vmlinuz-cut": "payload lies outside the file.*0x400000",
    "gz-elf-cut": "gzip payload",
    "gz-elf-bomb": "claims more unpacked bytes than allowed.*3221225472",
    "pvh-only": "can only start as PVH",
}


@pytest.fixture(scope="module")
def cases(parts: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """All 158, by name; the folder is filled once."""
    return {case.name: case for case in bad_cases(tmp_path_factory.mktemp("bad"), parts)}


@pytest.fixture(scope="module")
def outcomes(cases: dict[str, Case], oracle: Path) -> dict[str, dict[str, Any]]:
    """The results of Xen's builder."""
    hanging = [case for case in cases.values() if case.expect == "timeout"]
    others = [case for case in cases.values() if case.expect != "timeout"]
    results = run_many(oracle, [(case.kernel, "--no-hash", *case.args) for case in others], timeout=60)
    results += run_many(oracle, [(case.kernel, "--no-hash", *case.args) for case in hanging], timeout=2)
    return dict(zip([case.name for case in others + hanging], results, strict=True))


def parse(case: Case) -> KernelImage:
    options: dict[str, Any] = {}
    arguments = dict(zip(case.args[::2], case.args[1::2], strict=False))
    if "--features" in arguments:
        options["requested_features"] = arguments["--features"]
    if "--xen-caps" in arguments:
        options["capabilities"] = tuple(arguments["--xen-caps"].split())
    return parse_kernel(case.kernel.read_bytes(), name=case.name, **options)


def test_there_are_158_cases_and_xen_does_as_recorded(
    cases: dict[str, Case], outcomes: dict[str, dict[str, Any]]
) -> None:
    assert len(cases) == 158
    found = {name: outcome["status"] for name, outcome in outcomes.items()}
    assert found == {name: case.expect for name, case in cases.items()}


def test_every_kernel_that_xen_refuses_is_refused_and_no_other(
    cases: dict[str, Case], outcomes: dict[str, dict[str, Any]]
) -> None:
    readable = {name for name, case in cases.items() if case.kernel.is_file()}
    refused = {name for name in readable if refused_by_parser(outcomes[name])}
    assert refused | BROKEN_BUT_TAKEN_BY_XEN | REFUSED_LATER_BY_XEN == set(REASONS)


@pytest.mark.parametrize("name", REASONS)
def test_refusal_says_the_reason(name: str, cases: dict[str, Case]) -> None:
    with pytest.raises(KernelError, match=f"(?s)^{name}.*({REASONS[name]})"):
        parse(cases[name])


def test_all_others_say_what_xen_reads(cases: dict[str, Case], outcomes: dict[str, dict[str, Any]]) -> None:
    wrong = {}
    parsed: dict[Path, KernelImage] = {}
    for name, case in cases.items():
        if name not in REASONS and case.kernel.is_file() and outcomes[name]["parms"] is not None:
            if case.kernel not in parsed:
                parsed[case.kernel] = parse(case)
            different = differences(parsed[case.kernel], outcomes[name])
            if different:
                wrong[name] = different
    assert wrong == {}
