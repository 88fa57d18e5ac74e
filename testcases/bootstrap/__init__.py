"""Real bootstraps, from checkouts that the environment names; minutes to hours."""
