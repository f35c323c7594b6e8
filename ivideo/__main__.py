"""`python -m ivideo` is `ivideo`."""

from ivideo.cli.app import main

if __name__ == "__main__":
    main()
