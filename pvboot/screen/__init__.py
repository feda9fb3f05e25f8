"""The terminal: menu and prompt.  How entries boot is not known here."""
