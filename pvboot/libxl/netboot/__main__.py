"""`python -m pvboot.libxl.netboot`."""

from pvboot.libxl.netboot.main import main

if __name__ == "__main__":
    main()
