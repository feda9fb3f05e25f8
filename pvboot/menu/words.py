"""The vocabulary of GRUB Legacy: which words are commands and where they act.

A word that is not here is skipped by GRUB when it reads a menu; an entry without any known word does not
exist.  So this table decides how entries are numbered.  What the commands do is `pvboot.shell`'s matter.
Sources: the command tables of GRUB 0.97, of Debian's and PV-GRUB's patches, and of Ubuntu's (uuid, quiet).
"""

from __future__ import annotations

from fsdrivers.light import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """`head`: acts before the first title; `entry`: may run in an entry and at the prompt."""

    head: bool
    entry: bool


_HEAD = "default fallback hiddenmenu timeout"
_HEAD_AND_ENTRY = (
    "background bootp border color device dhcp foreground hide ifconfig pager partnew parttype password print "
    "quiet rarp serial setkey shade splashimage terminal terminfo tftpserver unhide viewport"
)
_ENTRY = (
    "blocklist boot cat chainloader clear cmp configfile debug displayapm displaymem dump embed find fstest "
    "geometry halt help impsprobe initrd install ioprobe kernel lock makeactive map md5crypt module "
    "modulenounzip pause quit read reboot root rootnoverify savedefault setup testload testvbe uppermem uuid "
    "vbeprobe"
)

TITLE = "title"

WORDS: dict[str, Word] = {
    TITLE: Word(head=False, entry=False),
    **{name: Word(head=True, entry=False) for name in _HEAD.split()},
    **{name: Word(head=True, entry=True) for name in _HEAD_AND_ENTRY.split()},
    **{name: Word(head=False, entry=True) for name in _ENTRY.split()},
}
