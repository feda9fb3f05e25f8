"""`python -m pvboot.pygrub`."""

from pvboot.pygrub.main import main

main()
