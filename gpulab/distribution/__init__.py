"""Images on many machines: who has which, and how they get there (registry, tarball, straight over ssh)."""
