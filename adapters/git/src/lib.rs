//! Fetches sources from git repositories.
