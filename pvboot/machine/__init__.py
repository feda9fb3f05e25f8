"""The embedded PV machine: one vCPU (unicorn), memory, page-table typing, hypercalls, events, back ends.

It starts from a state (frames and a vCPU context) and knows nothing of menus, kernels' files or plans.
"""
