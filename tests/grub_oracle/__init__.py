"""The judge of menus: the real shell of GRUB Legacy 0.97, a Debian program that reads disk images."""
