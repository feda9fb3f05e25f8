"""The client side of the network: fetching menus, kernels and images by HTTP and TFTP.

What must not live here: menus' meaning, kernels, the planner.  requests and tftpy are imported when a URL is met.
"""
