"""Tests of the network: the fetching side, and the server in `serve/`."""
