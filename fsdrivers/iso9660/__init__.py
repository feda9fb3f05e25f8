"""Read-only ISO 9660 with Rock Ridge and Joliet."""
