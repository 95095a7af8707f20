"""Read untrusted files row by row in bounded memory. Unreadable parts are counted and don't end an import."""
