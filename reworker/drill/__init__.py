"""The fault kit: ends our own processes at any point of their work, and judges what became of it."""
