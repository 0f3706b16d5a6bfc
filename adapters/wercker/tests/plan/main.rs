//! Plans of pipelines: golden cases, and what the planner does in a workspace.

mod golden;
mod planner;
