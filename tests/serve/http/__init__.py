"""The HTTP server, judged by real clients, by nginx and by floods."""
