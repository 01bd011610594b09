"""``python -m ct_vae``: the command line."""

from ct_vae.cli.main import run

if __name__ == "__main__":
    run()
