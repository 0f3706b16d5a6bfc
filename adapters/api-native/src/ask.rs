//! What a path and a query say.

use crate::problem::Problem;
use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use kiln::{Error, ErrorKind};
use serde::{Deserialize, de::DeserializeOwned};

/// The variable parts of a path.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

/// The query of a request; what it does not know is refused.
#[derive(Debug)]
pub(crate) struct Ask<T>(pub(crate) T);

/// The query of a request that has none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        // A name that is no text names nothing.
        path.map(|Path(at)| Self(at)).map_err(|e| {
            Error::new(ErrorKind::NotFound, "path", "there is nothing of that name")
                .source(e)
                .into()
        })
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Ask<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|Query(ask)| Self(ask)).map_err(|e| {
            Error::new(ErrorKind::Invalid, "query", e.body_text())
                .hint("The OpenAPI document at /api/v1/openapi.json names every parameter.")
                .into()
        })
    }
}
