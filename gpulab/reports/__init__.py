"""Tables, curves and listings: from records."""
