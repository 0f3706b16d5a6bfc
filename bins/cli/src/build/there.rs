//! Building with a server: what is here is sent there, and what is there is shown here.

use super::{
    Begin, Show, ending, input,
    plan::{self, Chosen, Ground},
    secrets,
    signals::Signals,
    upload::Upload,
    watch,
};
use crate::{
    args::{BuildArgs, Exit},
    home::short,
    print,
    remote::Server,
};
use futures::StreamExt;
use kiln::{
    BuildId, CancelToken, Engine, Error, ErrorKind, Event, Outcome, Plan, Result, Seq, SourceSpec,
    StopReason, port::Offset,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use tokio::sync::mpsc::unbounded_channel;

/// The answer to a submission.
#[derive(Deserialize)]
pub(crate) struct Submitted {
    pub(crate) build: BuildId,
}

pub(crate) async fn build_there(server: &Server, args: BuildArgs) -> Result<Exit> {
    let show = Show::of(&args);
    let kept: Vec<_> =
        args.secrets.iter().map(|s| secrets::kept_there(s)).collect::<Result<_>>()?;
    let mut signals = Signals::take()?;
    let scratch = tempfile::tempdir().map_err(|e| {
        Error::new(ErrorKind::Unexpected, "kiln build", "there is no room for temporary files")
            .source(e.to_string())
            .hint("TMPDIR says where they go.")
    })?;
    let input = match input::is_asked(&args)? {
        false => None,
        true => tokio::select! {
            input = input::read(&args, scratch.path().join("context")) => Some(input?),
            () = signals.next() => return Ok(Exit::Cancelled),
        },
    };
    let chosen = plan::choose(&args, input)?;
    let labels = plan::labels(&args, &chosen);
    if args.context_max.is_some() && !matches!(chosen.ground, Ground::Directory(_)) {
        return Err(plan::usage("--context-max is for a directory that is sent to a server"));
    }
    // What is wrong with the arguments is told before anything is sent.
    let sketch = Chosen { ground: Ground::Source(SourceSpec::new("upload:")), ..chosen.clone() };
    plan::plan(&args, sketch, kept.clone())?;
    server.greet().await?;
    let cancel = CancelToken::new();
    let upload = Upload { server, show, context_max: args.context_max, cancel: cancel.clone() };
    let chosen = tokio::select! {
        chosen = upload.all(chosen) => chosen?,
        () = signals.next() => {
            cancel.cancel(StopReason::Cancel);
            return Ok(Exit::Cancelled);
        }
    };
    let build = submit(server, &plan::plan(&args, chosen, kept)?, &labels).await?;
    if args.detach {
        return Ok(detached(&build, args.json));
    }
    follow_there(server, &build, show, Some(signals)).await
}

/// Submits a plan. However often the answer is lost, it makes one build.
pub(crate) async fn submit(
    server: &Server,
    plan: &Plan,
    labels: &BTreeMap<String, String>,
) -> Result<BuildId> {
    let (body, key) = (serde_json::json!({ "plan": plan, "labels": labels }), BuildId::random());
    let work = || async {
        let answer = server.client.post("kiln build", &["builds"], &body, Some(key.as_str())).await;
        server.client.json::<Submitted>("kiln build", answer?).await
    };
    Ok(server.steady.again(work).await?.build)
}

/// Names a build that nobody waits for.
pub(crate) fn detached(build: &BuildId, json: bool) -> Exit {
    match json {
        true => print::json("submitted", serde_json::json!({ "build": build })),
        false => print::result(build),
    }
    Exit::Fine
}

/// Shows a build that is with a server, from its beginning to its end.
pub(crate) async fn follow_there(
    server: &Server,
    build: &BuildId,
    show: Show,
    signals: Option<Signals>,
) -> Result<Exit> {
    let mut signals = signals.map_or_else(Signals::take, Ok)?;
    let (notes, noted) = unbounded_channel();
    server.steady.tell(notes.clone());
    let ending = async {
        tokio::select! {
            outcome = outcome(&server.engine, build) => Some(outcome),
            () = signals.obey_there(server, build, &notes) => None,
        }
    };
    let begin = Begin { from: Offset(0), show, noted };
    let ended = watch(&server.engine, build, begin, ending).await;
    if !matches!(ended, Ok(Some(_))) {
        let id = short(build);
        print::note(format!("build {id} is with the server; `kiln logs -f {id}` comes back to it"));
    }
    match ended? {
        Some((outcome, tally)) => ending::tell(&server.engine, build, &outcome, show, &tally).await,
        None => Ok(Exit::Cancelled),
    }
}

/// How a build ended, as soon as it has.
async fn outcome(engine: &Engine, build: &BuildId) -> Result<Outcome> {
    let mut events = engine.events(build, Seq::START);
    while let Some(event) = events.next().await {
        if let Event::Finished { outcome } = event?.event {
            return Ok(outcome);
        }
    }
    let message = "the journal of the server has no end";
    Err(Error::new(ErrorKind::Corrupt, "kiln build", message).with("build", build))
}
