"""`python -m gentool`, as torchrun starts it."""

from gentool.cli import main

if __name__ == "__main__":
    main()
