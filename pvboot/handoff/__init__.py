"""The ends of the road: the embedded machine, or just the plan.  What must not live here: parsing."""
