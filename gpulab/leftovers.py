def sweep():
    return []
