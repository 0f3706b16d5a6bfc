//! Sources, looked at before a build is made of them.

use super::Api;
use crate::{
    access::{Caller, Scope},
    ask::{Ask, Nothing},
    body::Sent,
    plan::source_spec,
    problem::Problem,
    upload,
    wire::{Verified, Verify},
};
use axum::{Json, extract::State};
use kiln::{Error, ErrorKind, Result};

/// Whether a source can be fetched, and what its moving name means just now
#[utoipa::path(
    post,
    path = "/api/v1/sources/verify",
    tag = "builds",
    request_body = Verify,
    responses((status = 200, body = Verified)),
)]
pub(super) async fn verify(
    State(api): State<Api>,
    caller: Caller,
    _: Ask<Nothing>,
    Sent(ask): Sent<Verify>,
) -> Result<Json<Verified>, Problem> {
    caller.expect(Scope::Submit)?;
    let spec = source_spec(ask.source);
    if let Some(upload) = upload::named(&spec.url) {
        upload::check(&caller.owner, upload, &*api.engine.tools().artifacts).await?;
    }
    let resolved = api.engine.resolve(&caller.owner, &spec, api.settings.verify_wait).await;
    Ok(Json(match resolved {
        Ok(revision) => Verified { revision: Some(revision), problem: None },
        Err(e) => match e.kind() {
            // The source said no; what else went wrong is the server's trouble.
            ErrorKind::NotFound
            | ErrorKind::Denied
            | ErrorKind::Invalid
            | ErrorKind::Unsupported
            | ErrorKind::Unavailable
            | ErrorKind::Timeout => Verified { revision: None, problem: Some(told(e)) },
            _ => return Err(e.into()),
        },
    }))
}

fn told(e: Error) -> crate::wire::Trouble {
    crate::wire::Trouble {
        code: e.kind(),
        detail: e.to_string(),
        hint: e.hint_text().map(str::to_owned),
    }
}
