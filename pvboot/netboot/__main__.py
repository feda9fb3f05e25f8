"""`python -m pvboot.netboot`."""

from pvboot.netboot.main import main

if __name__ == "__main__":
    main()
