"""Real menus must not be called wrong: what distributions write has no error, and only the warnings it deserves."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvboot.check.engine import check_source
from pvboot.check.model import CheckOptions, Target
from tests.check.distributions import MENUS
from tests.menu import corpus, grub_corpus
from tests.menu import test_distributions as others
from tests.menu.trees import plant

TEXT = CheckOptions(depth="text")
LEGACY = {
    "debian": corpus.DEBIAN,
    "red hat": corpus.RED_HAT,
    "suse": corpus.SUSE,
    "ec2": corpus.EC2,
    "xen": corpus.XEN_DOM0,
    "gentoo": corpus.GENTOO_SPLIT_LINES,
}
GRUB_2 = [name for name in grub_corpus.WRITTEN if name not in ("control flow", "errors")]
EXTLINUX = {"alpine": others.ALPINE, "nixos": others.NIXOS, "u-boot": others.U_BOOT_MENU}


def errors(source: Path, options: CheckOptions = TEXT) -> list[str]:
    result = check_source(str(source), options)
    assert result.error is None and result.menus
    return [f"{f.line}: {f.message} [{f.rule}]" for f in result.findings if f.severity == "error"]


@pytest.mark.parametrize("name", MENUS)
def test_a_menu_of_grub_legacy_is_judged_fairly(name: str, tmp_path: Path) -> None:
    text, wanted = MENUS[name]
    (tmp_path / "menu.lst").write_text(text)
    result = check_source(str(tmp_path / "menu.lst"))
    assert not [finding for finding in result.findings if finding.severity == "error"]
    assert {finding.rule for finding in result.findings} == wanted


@pytest.mark.parametrize("loader", ["pvboot", "pv-grub", "pygrub"])
@pytest.mark.parametrize("name", sorted(set(MENUS) - {"rhel-5-dom0", "rhel-6", "known-words"}))
def test_no_loader_of_pv_guests_has_trouble_with_it(name: str, loader: str, tmp_path: Path) -> None:
    (tmp_path / "menu.lst").write_text(MENUS[name][0])
    wanted = (name, loader) == ("ubuntu-jaunty", "pv-grub")  # which knows no `uuid`: the entries have no root
    assert bool(errors(tmp_path / "menu.lst", CheckOptions(target=Target(loader=loader)))) == wanted


@pytest.mark.parametrize("name", LEGACY)
def test_the_corpus_of_menu_lst_has_no_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "menu.lst").write_bytes(LEGACY[name])
    assert not errors(tmp_path / "menu.lst")


@pytest.mark.parametrize("name", GRUB_2)
def test_the_corpus_of_grub_cfg_has_no_error(name: str, tmp_path: Path) -> None:
    case = grub_corpus.WRITTEN[name]
    plant(tmp_path, {**case.files, case.config: case.text})
    own = {"no-entries", "duplicate-title", "duplicate-id", "cmdline-too-long", "smart-quotes", "encoding"}
    found = check_source(str(tmp_path), TEXT).findings
    assert not [finding for finding in found if finding.severity == "error" and finding.rule in own]


@pytest.mark.parametrize("name", EXTLINUX)
def test_extlinux_menus_have_no_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "extlinux.conf").write_text(EXTLINUX[name])
    assert not errors(tmp_path / "extlinux.conf")
