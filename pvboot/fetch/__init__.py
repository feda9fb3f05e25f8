"""The network: fetching menus, kernels and images (HTTP, TFTP), and below `serve/` the netboot server.

What must not live here: menus' meaning, kernels, the planner.  requests and tftpy are imported when a URL is met.
"""
