"""Ray, and nothing else: what the science in ``farm`` computes is wired, scheduled and trained here."""
