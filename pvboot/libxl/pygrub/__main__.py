"""`python -m pvboot.libxl.pygrub`."""

from pvboot.libxl.pygrub.main import main

main()
