"""Pure planning: layout of a PV domain, its page tables and start state, and the relocation to it.

No input or output, no globals: the same input gives the same plan.  What must not live here: where the
bytes came from, and who executes the plan.
"""
