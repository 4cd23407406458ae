"""Turns: one time round the loop is written, chosen, judged, learned from, aligned and checked."""
