"""The boot loaders that xl calls: `pygrub` (bootloader=) and `netboot` (from the network).

Here live their command lines and their protocol with libxl; how menus, disks and servers are read does not.
"""
