//! Keeps logs, artifacts and workspaces in a local directory.
