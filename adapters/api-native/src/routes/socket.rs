//! Logs over a websocket.

use super::{Api, logs::records};
use crate::{
    access::{Caller, Scope},
    ask::{Ask, At},
    problem::Problem,
    view::line,
    wire::LogLine,
};
use axum::{
    body::Bytes,
    extract::{
        State,
        ws::{
            CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code,
            rejection::WebSocketUpgradeRejection,
        },
    },
    http::StatusCode,
    response::Response,
};
use futures::{SinkExt, StreamExt, stream::BoxStream};
use kiln::{
    Error, ErrorKind, Result,
    port::{LogRecord, Offset},
};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How large a message of a client may be: it has nothing to say.
const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// How many pings may stay without an answer.
const SILENT_MAX: u32 = 3;

/// From where on a log is wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    /// From this offset on.
    #[serde(default)]
    after: u64,
}

/// Follow the log of a build over a websocket: a record a text message, until the log is closed
#[utoipa::path(
    get,
    path = "/api/v1/builds/{build}/logs/ws",
    tag = "logs",
    params(("build" = String, Path, description = "Its id"), From),
    responses(
        (status = 101, description = "Text messages with such records; closed with 1000 at the end \
            of the log, with 1001 when the server ends", body = LogLine),
        (status = 426, description = "The request is no upgrade to a websocket"),
    ),
)]
pub(super) async fn follow(
    State(api): State<Api>,
    caller: Caller,
    At(build): At<String>,
    Ask(ask): Ask<From>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let build = api.expect(&caller, Scope::Read, &build).await?.summary.build;
    let records = records(&api, build, Offset(ask.after), true).await?;
    let upgrade = upgrade.map_err(|e| {
        let error = Error::new(ErrorKind::Invalid, "logs", "this is for websockets").source(e);
        Problem::new(error, StatusCode::UPGRADE_REQUIRED)
    })?;
    let upgrade = upgrade.max_message_size(MESSAGE_BYTES_MAX).max_frame_size(MESSAGE_BYTES_MAX);
    let ping = api.settings.ping;
    Ok(upgrade.on_upgrade(move |socket| serve(socket, records, ping)))
}

/// Sends records until there are no more, or nobody takes them.
async fn serve(
    socket: WebSocket,
    mut records: BoxStream<'static, Result<LogRecord>>,
    ping: Duration,
) {
    let (mut out, mut heard) = socket.split();
    let mut tick = interval(ping);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent = 0;
    let bye = loop {
        let message = tokio::select! {
            record = records.next() => match record {
                Some(Ok(record)) => Message::Text(text(&record).into()),
                Some(Err(e)) => break close(&e),
                None => break frame(close_code::NORMAL, "the log ends here"),
            },
            said = heard.next() => match said {
                // Whatever it says, it is there.
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {
                    silent = 0;
                    continue;
                }
            },
            _ = tick.tick() => {
                silent += 1;
                if silent > SILENT_MAX {
                    return;
                }
                Message::Ping(Bytes::new())
            }
        };
        // It takes one message at a time: what is not sent is not read either.
        if !matches!(timeout(ping * SILENT_MAX, out.send(message)).await, Ok(Ok(()))) {
            return;
        }
    };
    // A client that is gone misses nothing.
    let _ = timeout(ping, out.send(Message::Close(Some(bye)))).await;
}

fn text(record: &LogRecord) -> String {
    serde_json::to_string(&line(record)).unwrap_or_default()
}

fn close(e: &Error) -> CloseFrame {
    match e.kind() {
        ErrorKind::Unavailable => frame(close_code::AWAY, "come again"),
        _ => {
            tracing::warn!(error = ?e, "a log could not be read");
            frame(close_code::ERROR, "the log could not be read")
        }
    }
}

fn frame(code: u16, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}
