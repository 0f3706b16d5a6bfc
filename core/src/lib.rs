//! Turns git repositories, Dockerfiles, containers and pipelines into tested, published images.
