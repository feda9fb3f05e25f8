"""The terminal: menu and prompt.  How entries boot is not known here.

`plain.choose` is the numbered menu, `plain.terminal_console` what commands talk to; `safe_text.safe` makes the guest's
text harmless before it is printed.
"""
