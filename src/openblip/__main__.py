"""`python -m openblip` is the `openblip` command."""

from openblip.cli import main

if __name__ == "__main__":
    main()
