"""Systems beside each other: trained alike, judged alike on the same pairs, in one table and one figure."""
