"""The netboot server as a whole, its content, configuration and what it says to DHCP servers."""
