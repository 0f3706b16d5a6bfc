//! Builds, runs, commits and pushes with a Docker engine, by its HTTP API.
//!
//! [`DockerBuilder`] is the builder, [`DockerRegistry`] the registry, [`DockerRuntime`] the runtime
//! and [`DockerContainers`] the containers of one engine; they share a [`DockerClient`].
//! Formats: the Docker Engine API (`docs.docker.com/reference/api/engine`), the `.dockerignore` file
//! and the configuration file of the Docker command line.

mod builder;
mod client;
mod config;
mod containers;
pub mod context;
mod credentials;
mod error;
pub mod ignore;
mod labels;
mod progress;
mod registry;
mod runtime;
mod wire;

pub use builder::DockerBuilder;
pub use client::{DockerClient, EngineInfo};
pub use config::{BuilderChoice, ClientFiles, ConfigError, DockerConfig, Host, TlsFiles};
pub use containers::DockerContainers;
pub use credentials::{CredentialStore, KnownLogin};
pub use labels::HomeId;
pub use registry::DockerRegistry;
pub use runtime::{DockerRuntime, Leftover};
