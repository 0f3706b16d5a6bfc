//! Builds, pushes and tags images with a Docker engine, by its HTTP API.
//!
//! [`DockerBuilder`] is the builder and [`DockerRegistry`] the registry of one engine; both share a
//! [`DockerClient`]. Formats: the Docker Engine API (`docs.docker.com/reference/api/engine`), the
//! `.dockerignore` file and the configuration file of the Docker command line.

mod builder;
mod client;
mod config;
pub mod context;
mod credentials;
mod error;
pub mod ignore;
mod progress;
mod registry;
mod wire;

pub use builder::DockerBuilder;
pub use client::{DockerClient, EngineInfo};
pub use config::{BuilderChoice, ClientFiles, ConfigError, DockerConfig, Host, TlsFiles};
pub use credentials::{CredentialStore, KnownLogin};
pub use registry::DockerRegistry;
