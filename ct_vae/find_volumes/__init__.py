"""Searching folders and archives for volumes and latents."""
