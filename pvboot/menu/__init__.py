"""The meaning of menu files: discovery, entries, defaults.  Bytes on disk and terminals are not known here."""
