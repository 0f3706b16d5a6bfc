//! Tokens, for an admin.

use super::Api;
use crate::{
    access::{Caller, Scope},
    ask::{Ask, At, Nothing},
    body::Sent,
    problem::Problem,
    tokens::{TokenBook, TokenInfo},
    wire::{NewToken, Tokens},
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use kiln::{Error, ErrorKind, Result};
use std::sync::Arc;

/// The tokens, by name, without their texts
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", responses((status = 200, body = Tokens)))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    _: Ask<Nothing>,
) -> Result<Json<Tokens>, Problem> {
    Ok(Json(Tokens { tokens: book(&api, &caller)?.list().await? }))
}

/// Make a token; its text is in this answer and nowhere else
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "tokens",
    request_body = TokenInfo,
    responses((status = 201, body = NewToken)),
)]
pub(super) async fn create(
    State(api): State<Api>,
    caller: Caller,
    _: Ask<Nothing>,
    Sent(info): Sent<TokenInfo>,
) -> Result<Response, Problem> {
    let book = book(&api, &caller)?;
    let name = &info.name;
    if name.is_empty() || name.chars().count() > 64 || name.contains(|c: char| c.is_control()) {
        let message = "the name of a token has 1 to 64 characters and no control characters";
        return Err(Error::new(ErrorKind::Invalid, "tokens", message).into());
    }
    if info.scopes.is_empty() {
        let message = "a token without scopes would allow nothing";
        return Err(Error::new(ErrorKind::Invalid, "tokens", message).into());
    }
    let secret = book.create(&info).await?;
    caller.did("made token", name);
    let token = secret
        .expose_str()
        .ok_or_else(|| Error::new(ErrorKind::Unexpected, "tokens", "the new token is no text"))?;
    let made = NewToken { info, token: token.to_owned() };
    let private = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, private, Json(made)).into_response())
}

/// Remove a token, which is refused from then on
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{name}",
    tag = "tokens",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 204)),
)]
pub(super) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    At(name): At<String>,
    _: Ask<Nothing>,
) -> Result<StatusCode, Problem> {
    book(&api, &caller)?.remove(&name).await?;
    caller.did("removed token", &name);
    Ok(StatusCode::NO_CONTENT)
}

fn book(api: &Api, caller: &Caller) -> Result<Arc<dyn TokenBook>> {
    caller.expect(Scope::Admin)?;
    api.tokens
        .clone()
        .ok_or_else(|| Error::new(ErrorKind::Unsupported, "tokens", "this server keeps no tokens"))
}
