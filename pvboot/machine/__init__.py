"""The embedded PV machine: one vCPU (unicorn), memory, page-table typing, hypercalls, events, back ends.

It starts from a state (frames and a vCPU context) and executes; it knows nothing of menus, kernels' files or plans.
`machine.Machine` is the entrance, `outcome.RunLimits` and `outcome.Outcome` are what goes in and comes out of a run.
Only `engine.py` knows the CPU engine, and it is loaded by the first run.
"""
