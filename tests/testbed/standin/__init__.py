"""Stand-ins for NVIDIA's hardware and packages, so that the roles run unmodified with only variables set.

Nothing here is NVIDIA's: small scripts answer the few questions that roles and checks ask.
"""
