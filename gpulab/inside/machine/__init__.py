"""What a machine is: read only, the standard library only, so that it can be sent over ssh. A module a subject."""
