"""`pvboot-netboot`: the boot loader for xl that fetches kernel and ramdisk from the network, in place of xenpvnetboot.

`options` is the command line, `trees` how distributions lay out their installers, `main` the trusted side.  What must
not live here: protocols (`pvboot.fetch`), file systems.
"""
