"""`pvboot-pygrub`: the boot loader that xl and libxl start for a guest, with pygrub's command line and results.

`main` is the trusted side: options, opening the disk and the result files, the sandbox, what libxl is told.  `guest` is
the side that reads the guest's disk and runs confined.  Nothing here knows file systems or menu dialects.
"""
