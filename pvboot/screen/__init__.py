"""The terminal: menu and prompt.  How entries boot is not known here.

`plain.choose` is the numbered menu; `safe_text.safe` makes the guest's text harmless before it is printed.
"""
