"""Who speaks, and when: voices as vectors, speech activity, and which pieces of speech belong to one person."""
