"""Pictures of reconstructions, and their colors."""
