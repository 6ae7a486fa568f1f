"""`inv site`: labs, plan, runs and documents as a static site, in English and Chinese."""
