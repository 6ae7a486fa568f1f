"""A lab, a profile and settings in; a Plan of Commands out. Asks no host, runs nothing."""
