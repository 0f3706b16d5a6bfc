#![doc = include_str!("lib.md")]

pub mod archive;
pub mod courier;
pub mod cx;
pub mod engine;
mod error;
pub mod event;
mod id;
pub mod image;
pub mod layer;
pub mod memory;
pub mod net;
mod path;
pub mod plan;
pub mod port;
pub mod redact;
pub mod secret;
pub mod state;
pub mod tar;
mod tenure;
mod toolbox;
pub mod view;

pub use crate::{
    courier::{Courier, Notifiers, Outbox},
    cx::{CancelToken, LogWriter, StepCx, StepLog, StepSecrets, StopReason},
    engine::{CacheLimits, Engine, EngineBuilder, KeptCache, Submission, Worker},
    error::{Error, ErrorKind, Result, Status},
    event::{
        Actor, Artifact, CancelCause, Event, Failure, FailureClass, Image, Outcome, Output,
        Recorded, Report,
    },
    id::{
        BoxName, BuildId, DriverId, IdError, NodeId, NotifierName, Owner, Seq, SessionName, StepId,
        StepKey, Timestamp,
    },
    image::{Digest, ImageRef},
    path::{RelPath, RelPathError},
    plan::{
        Attempts, BoxSpec, BuildSpec, CacheKey, Command, CommitSpec, ContainerRef, Context,
        ImageFrom, Mount, MountSource, Op, Placement, Plan, PlanBuilder, PlanError, Port, Protocol,
        Recipe, Resources, Revision, ServiceSpec, Severity, SourceSpec, Step, Target, When,
    },
    secret::{Fact, Secret, SecretRef, Value},
    state::{BuildState, Phase, Reuse, StepPhase},
    toolbox::Toolbox,
    view::{BuildView, StepStatus, StepView},
};
