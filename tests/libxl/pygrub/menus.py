"""Menus that pygrub boots from, and the options to boot them with."""

from __future__ import annotations

TWO = b"""default 0
timeout 5
title First
root (hd0,0)
kernel /boot/vmlinuz root=/dev/xvda1 ro
initrd /boot/initrd.img
title Second one
root (hd0,0)
kernel /boot/vmlinuz-old single  two   blanks
initrd /boot/initrd-old
"""
ENTRY = b"title %s\nkernel %s\n"

MENU_LST: dict[str, bytes] = {
    "two": TWO,
    "second": TWO.replace(b"default 0", b"default 1"),
    "equals": TWO.replace(b"default 0", b"default=1").replace(b"timeout 5", b"timeout=5"),
    "beyond": TWO.replace(b"default 0", b"default 9"),
    "just beyond": TWO.replace(b"default 0", b"default 2"),
    "no default": TWO.replace(b"default 0\n", b""),
    "saved": TWO.replace(b"default 0", b"default saved"),
    "junk default": TWO.replace(b"default 0", b"default x"),
    "title=": TWO.replace(b"title First", b"title=First"),
    "no initrd": b"title a\nkernel /boot/vmlinuz quiet\n",
    "no arguments": b"title a\nkernel /boot/vmlinuz\ninitrd /boot/initrd.img\n",
    "nothing but a kernel": b"title a\nkernel /boot/vmlinuz",
    "tabs": b"title\t\tTabbed\n\troot\t\t(hd0,0)\n\tkernel\t\t/boot/vmlinuz ro\n\tinitrd\t\t/boot/initrd.img\n",
    "carriage returns": TWO.replace(b"\n", b"\r\n"),
    "comments": b"# a comment\n\n  # another\n" + TWO.replace(b"root (hd0,0)\n", b"#root (hd0,0)\n\n"),
    "empty title counts": b"default 1\ntitle ----\ntitle Linux\nkernel /boot/vmlinuz-old one\n",
    "last title empty": b"default 0\ntitle Linux\nkernel /boot/vmlinuz one\ntitle end\n",
    "devices": b"title a\nroot (hd0,0)\nkernel (hd0,0)/boot/vmlinuz ro\ninitrd (hd0,0)/boot/initrd.img\n",
    "other disk": b"title a\nroot (hd3,6)\nkernel /boot/vmlinuz ro\ninitrd /boot/initrd.img\n",
    "other device": b"title a\nkernel (hd3,6)/boot/vmlinuz ro\ninitrd (hd1,0)/boot/initrd.img\n",
    "new names": b"title a\nroot (hd0,msdos1)\nkernel (hd0,gpt2)/boot/vmlinuz ro\n",
    "xvda": b"title a\nroot (/dev/xvda)\nkernel (/dev/xvda)/boot/vmlinuz ro\n",
    "rootnoverify": b"title a\nrootnoverify (hd0,1)\nkernel /boot/vmlinuz ro\n",
    "last one wins": b"title a\nkernel /missing x\nkernel /boot/vmlinuz y\ninitrd /none\ninitrd /boot/initrd.img\n",
    "initrd first": b"title a\ninitrd /boot/initrd.img\nkernel /boot/vmlinuz y\n",
    "unknown commands": b"color a/b\nfoo bar\ntitle a\nfrob\nquiet\nsavedefault\nlock\nkernel /boot/vmlinuz y\nboot\n",
    "passwords": b"password --md5 $1$x$y\ntitle a\nlock\nkernel /boot/vmlinuz y\n",
    "ignored head": b"hiddenmenu\nsplashimage=(hd0,0)/x.xpm.gz\nserial --unit=0\nfallback 0\n" + TWO,
    "links": b"title a\nkernel /vmlinuz ro\ninitrd /initrd.img\n",
    "link in a directory": b"title a\nkernel /boot/link ro\ninitrd /boot/grub-link/kernel\n",
    "no leading slash": b"title a\nkernel boot/vmlinuz ro\n",
    "dots": b"title a\nkernel /boot/../boot/./vmlinuz ro\n",
    "odd name": b"title a\nkernel /boot/vmlinuz-6.1.0-amd64_long.name+x a=b c='d e' \"f\"\n",
    "equals in arguments": b"title a\nkernel /boot/vmlinuz root=UUID=1-2 a==b =\n",
    "sparse": b"title a\nkernel /boot/sparse ro\ninitrd /boot/sparse\n",
    "deep": b"title a\nkernel /boot/deep/er/kernel\n",
    "utf-8": "title Grüße ☃\nkernel /boot/vmlinuz x=ü\n".encode(),
    "long arguments": b"title a\nkernel /boot/vmlinuz " + b"x" * 900 + b"\n",
    "many entries": b"default 40\n" + b"".join(ENTRY % (b"n%d" % i, b"/boot/vmlinuz n%d" % i) for i in range(60)),
    "hypervisor alone": b"title a\nkernel /xen.gz dom0_mem=1\n",
    "upper case root": b"title a\nroot (hd0)\nkernel /boot/vmlinuz\n",
    "trailing blanks": b"title a   \nkernel   /boot/vmlinuz   ro   \ninitrd   /boot/initrd.img   \n",
}

PATHS = ("boot/grub/menu.lst", "boot/grub/grub.conf", "grub/menu.lst", "grub/grub.conf")

OPTIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("--entry=1",),
    ("--entry", "Second one"),
    ("--entry=0",),
    ("--entry=7",),
    ("--entry=-1",),
    ("--entry=nothing like it",),
    ("--entry=Grüße ☃",),
    ("--args=more",),
    ("--args=a  b ",),
    ("--arg", "more", "--ent=1"),
    ("--kernel=/boot/vmlinuz-old",),
    ("--kernel=/boot/vmlinuz-old", "--ramdisk=/boot/initrd-old", "--args=x y"),
    ("--ramdisk=/boot/initrd-old",),
    ("--kernel=/vmlinuz", "--args="),
)

GRUB_CFG: dict[str, bytes] = {
    "debian": b"""set default="0"
if [ "x${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
fi
function load_video {
  insmod all_video
}
set timeout=5
menuentry 'Debian GNU/Linux' --class debian --class gnu $menuentry_id_option 'gnulinux-simple-1' {
\tload_video
\tinsmod ext2
\tset root='hd0,msdos1'
\techo\t'Loading ...'
\tlinux\t/boot/vmlinuz root=UUID=1-2 ro  quiet
\techo 'Loading initial ramdisk ...'
\tinitrd\t/boot/initrd.img
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-1' {
\tmenuentry 'Debian, old' --class debian {
\t\tlinux\t/boot/vmlinuz-old root=UUID=1-2 ro single
\t\tinitrd\t/boot/initrd-old
\t}
\tmenuentry 'Debian, deep' {
\t\tlinux\t/boot/deep/er/kernel
\t}
}
""",
    "second by number": b"""set default=1
menuentry "One" {
 linux /boot/vmlinuz one
}
menuentry "Two" {
 linux16 /boot/vmlinuz-old two
 initrd16 /boot/initrd-old
}
""",
    "root and devices": b"""menuentry 'a' {
 set root=(hd0,1)
 linux (hd0,msdos1)/boot/vmlinuz ro
 initrd (hd0,gpt2)/boot/initrd.img
}
""",
    "other disk": b"menuentry 'a' {\n set root='(hd5,msdos3)'\n linux /boot/vmlinuz ro\n}\n",
    "beyond": b"set default=7\nmenuentry 'a' {\n linux /boot/vmlinuz ro\n}\n",
    "search": b"""menuentry 'a' {
 search --no-floppy --fs-uuid --set=root 11111111-2222-3333-4444-555555555555
 linux /boot/vmlinuz ro
 initrd /boot/initrd.img
}
""",
}
EXTLINUX: dict[str, bytes] = {
    "debian": b"""DEFAULT linux
TIMEOUT 50
PROMPT 0
LABEL linux
  KERNEL /boot/vmlinuz
  APPEND initrd=/boot/initrd.img root=/dev/xvda1 ro
LABEL old
  KERNEL /boot/vmlinuz-old
  APPEND single
""",
    "second": b"default old\nlabel linux\nkernel /boot/vmlinuz\nlabel old\nkernel /boot/vmlinuz-old\nappend a  b\n",
    "none named": b"label a\nkernel /boot/vmlinuz\nappend ro\n",
    "hypervisor": b"label x\nkernel mboot.c32\nappend /xen.gz a --- /boot/vmlinuz b c --- /boot/initrd.img\n",
}
GRUB_CFG_PATHS = ("boot/grub/grub.cfg", "grub/grub.cfg", "boot/grub2/grub.cfg", "grub2/grub.cfg")
EXTLINUX_PATHS = (
    "boot/isolinux/isolinux.cfg",
    "boot/extlinux/extlinux.conf",
    "boot/extlinux.conf",
    "extlinux/extlinux.conf",
    "extlinux.conf",
)
