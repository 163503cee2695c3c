"""`python -m agentkd` (and `accelerate launch -m agentkd`) is the `agentkd` command."""

from agentkd.cli.main import main

if __name__ == "__main__":
    main()
