"""Moving pictures without waiting: the newest request wins, at a size that fits the time there is."""
