"""``python -m pipedtln``."""

from pipedtln.cli import main

if __name__ == "__main__":
    main(prog_name="pipedtln")
