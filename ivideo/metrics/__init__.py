"""Numbers about finished videos: how much they move and flicker, and whether one set beats another."""
