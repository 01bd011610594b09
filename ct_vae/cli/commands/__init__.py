"""The commands of `ct-vae`, one file each."""
