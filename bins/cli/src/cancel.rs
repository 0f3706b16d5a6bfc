//! Asking a build to stop: `cancel`.

use crate::{
    args::{CancelArgs, Exit},
    backend::Backend,
    home::{Home, short},
    print,
};
use kiln::{BuildId, Error, ErrorKind, Phase, Result};

const REASON: &str = "somebody asked with `kiln cancel`";

pub(crate) async fn cancel(from: &Backend, args: CancelArgs) -> Result<Exit> {
    let build = from.find(&args.id).await?.build;
    let asked = match from {
        Backend::Here(home) => home.engine.cancel(&build, REASON, args.force).await,
        Backend::There(server) => server.cancel(&build, REASON, args.force).await,
    };
    if let Err(e) = asked {
        let state = from.engine().state(&build).await?;
        return Err(match state.outcome() {
            Some(outcome) => Error::new(
                ErrorKind::Conflict,
                "kiln cancel",
                format!("build {} is over already", short(&build)),
            )
            .with("outcome", outcome.word()),
            None => e,
        });
    }
    if let Backend::Here(home) = from {
        clear_up(home, &build).await?;
    }
    let over = from.engine().state(&build).await?.phase() == Phase::Finished;
    if args.json {
        print::json("cancelled", serde_json::json!({ "build": build, "finished": over }));
    } else if over {
        print::note(format!("build {} is cancelled", short(&build)));
    } else {
        print::note(format!("build {} is asked to stop", short(&build)));
    }
    Ok(Exit::Fine)
}

/// If nobody drives the build any more, this process does what is left to do.
async fn clear_up(home: &Home, build: &BuildId) -> Result<()> {
    if home.no_docker.is_none()
        && let Ok(_lock) = home.lock(build)
    {
        home.engine.drive(build).await?;
    }
    home.reindex(build).await
}
