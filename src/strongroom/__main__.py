"""``python -m strongroom``: the command line without its script on the PATH."""

from strongroom.cli.main import main

if __name__ == "__main__":
    main()
