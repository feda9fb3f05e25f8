"""158 damaged and odd inputs through `pvboot plan`: each ends in one clear line, or in the domain that Xen builds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pvboot.cli.main import main
from tests.kexec.test_oracle import assert_same_report
from tests.oracle.bad import Case, bad_cases
from tests.oracle.run import run_many

Parts = Callable[[str], Path]

OPTIONS = {"--mem": "--memory", "--xen-caps": "--capabilities"}

# Xen builds these without a word and gets a domain that cannot run: data missing from the file, or addresses that no
# PV guest can map.  They are refused, with the reason.
REFUSED_THOUGH_XEN_BUILDS = {
    "elf-cut-seg": "",
    "elf-off-out": "",
    "elf-filesz-gt-memsz": "",
    "elf-machine-386-in-64": "hypervisor's address range",  # a 32-bit domain at a 64-bit address
    "base32-in-hv": "hypervisor's address range",
    "base32-wrap": "hypervisor's address range",
    "base64-hv": "hypervisor's address range",
    "base64-noncanonical": "not canonical",
    "init-p2m-hv-hole": "hypervisor's address range",
    "init-p2m-noncanonical": "not canonical",
}


def plan_arguments(case: Case, report: Path) -> list[str]:
    arguments = [OPTIONS.get(option, option) for option in case.args]
    return ["plan", "--kernel", str(case.kernel), "--compat", "xen-4.17", "--json", str(report), *arguments]


@pytest.mark.slow
def test_every_damaged_input_is_refused_with_a_reason_or_built_as_xen_does(
    parts: Parts, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cases = bad_cases(tmp_path, parts)
    assert len(cases) == 158
    outcomes = run_many(parts("oracle"), [(case.kernel, *case.args) for case in cases], timeout=30)
    wrong = []
    refused_anyway = set()
    for case, theirs in zip(cases, outcomes, strict=True):
        assert theirs["status"] == case.expect, case.name
        report = tmp_path / "report.json"
        report.unlink(missing_ok=True)
        capfd.readouterr()
        code = main(plan_arguments(case, report))
        output, errors = capfd.readouterr()
        lines = errors.splitlines()
        if code == 0:
            if case.expect != "ok" or lines or output:
                wrong.append(f"{case.name}: built, expected {case.expect}; {lines}")
                continue
            assert_same_report(json.loads(report.read_text()), theirs)
        else:
            if code != 3 or len(lines) != 1 or "internal error" in errors or report.exists():
                wrong.append(f"{case.name}: exit {code}, {lines}")
            if case.expect == "ok":
                refused_anyway.add(case.name)
                if REFUSED_THOUGH_XEN_BUILDS.get(case.name, "-") not in errors:
                    wrong.append(f"{case.name}: refused: {lines}")
    assert wrong == []
    assert refused_anyway == set(REFUSED_THOUGH_XEN_BUILDS)
