//! Keeps journals, queue and index in a SQLite database.
