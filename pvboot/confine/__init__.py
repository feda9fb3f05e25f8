"""Children without rights: they read what a guest or a server wrote, on behalf of somebody else.

`jobs` declares what a child is for: its rights, its limits, and the schema of what it may say.  `parent` starts one,
keeps its deadline and believes nothing that the schema does not allow; `fork_server` does so for programs with threads.
`layers` and `seccomp` are what a child gives up, `preload` is the one registry of modules that it needs.  What the jobs
do is not known here.
"""
