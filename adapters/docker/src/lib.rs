//! Builds, runs, commits and pushes with a Docker engine.
