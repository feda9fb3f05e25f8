"""The ends of the road: the embedded machine, or the plan alone.  What must not live here: parsing."""
