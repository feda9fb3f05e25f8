"""The GRUB command interpreter: one function a command, in a table.  Terminals are not known here."""
