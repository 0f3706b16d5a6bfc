//! Doing a build once more: `retry`.

use crate::{
    args::{Exit, RetryArgs},
    backend::Backend,
    build::{Show, Submitted, detached, follow_there},
    home::short,
    print,
    remote::Server,
};
use kiln::{BuildId, Result};

pub(crate) async fn retry(server: Server, args: RetryArgs) -> Result<Exit> {
    let from = Backend::There(server);
    let before = from.find_or_latest(args.id.as_deref()).await?.build;
    let Backend::There(server) = from else { return Ok(Exit::Fine) };
    let body = match args.from_failed {
        true => serde_json::json!({ "from": "failed" }),
        false => serde_json::json!({}),
    };
    // However often the answer is lost, it makes one build.
    let (path, key) = (["builds", before.as_str(), "retry"], BuildId::random());
    let work = || async {
        let answer = server.client.post("kiln retry", &path, &body, Some(key.as_str())).await;
        server.client.json::<Submitted>("kiln retry", answer?).await
    };
    let build = server.steady.again(work).await?.build;
    if args.detach {
        return Ok(detached(&build, args.json));
    }
    if !args.json {
        print::note(format!("build {} repeats build {}", short(&build), short(&before)));
    }
    follow_there(&server, &build, Show::to_match(args.json), None).await
}
