"""The bench: this queue beside the others, in one run, on pinned cores."""
