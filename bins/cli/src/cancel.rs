//! Asking a build to stop: `cancel`.

use crate::{
    args::{CancelArgs, Exit},
    home::{Home, short},
    print,
};
use kiln::{Error, ErrorKind, Phase, Result};

pub(crate) async fn cancel(home: &Home, args: CancelArgs) -> Result<Exit> {
    let build = home.find(&args.id).await?.build;
    let asked = home.engine.cancel(&build, "somebody asked with `kiln cancel`", args.force).await;
    if let Err(e) = asked {
        let state = home.engine.state(&build).await?;
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
    // If nobody drives it any more, this process does what is left to do.
    if home.no_docker.is_none()
        && let Ok(_lock) = home.lock(&build)
    {
        home.engine.drive(&build).await?;
    }
    home.reindex(&build).await?;
    let over = home.engine.state(&build).await?.phase() == Phase::Finished;
    if args.json {
        print::json("cancelled", serde_json::json!({ "build": build, "finished": over }));
    } else if over {
        print::note(format!("build {} is cancelled", short(&build)));
    } else {
        print::note(format!("build {} is asked to stop", short(&build)));
    }
    Ok(Exit::Fine)
}
