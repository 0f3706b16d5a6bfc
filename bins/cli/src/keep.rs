//! Keeping the data directory small: `prune`.

use crate::{
    args::{Exit, PruneArgs},
    history::now,
    home::{Home, short},
    print,
};
use kiln::{
    Phase, Result,
    port::{BuildFilter, Page, PageToken},
};

pub(crate) async fn prune(home: &Home, args: PruneArgs) -> Result<Exit> {
    let filter = BuildFilter { phase: Some(Phase::Finished), ..BuildFilter::default() };
    let (mut old, mut seen, mut after) = (Vec::new(), 0, None::<PageToken>);
    loop {
        let page = home.engine.list(&filter, &Page { max: 500, after: after.clone() }).await?;
        let Some(last) = page.last() else { break };
        after = Some(PageToken::after(last));
        for build in page {
            seen += 1;
            let age = now().since(build.finished_at.unwrap_or(build.accepted_at));
            if seen > args.keep && args.older_than.is_none_or(|limit| age >= limit) {
                old.push(build.build);
            }
        }
    }
    if !args.dry_run {
        for build in &old {
            home.engine.forget(build).await?;
        }
        home.engine.tidy().await?;
    }
    if args.json {
        print::json(&serde_json::json!({ "forgotten": old, "dry_run": args.dry_run }));
    } else {
        let word = if args.dry_run { "would forget" } else { "forgot" };
        for build in &old {
            print::result(short(build));
        }
        print::note(format!("{word} {} of {seen} finished builds", old.len()));
    }
    Ok(Exit::Fine)
}
