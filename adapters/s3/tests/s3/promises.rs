use crate::parts::{Place, place};
use kiln_conformance::Fresh;
use kiln_s3::{S3Artifacts, Style};
use std::sync::Arc;
use url::Url;

fn fresh(test: &str, change: impl FnOnce(&mut Place)) -> Option<Fresh<S3Artifacts>> {
    let mut place = place(test)?;
    change(&mut place);
    let place = Arc::new(place);
    let fresh = Fresh::new(place.open());
    Some(fresh.reopen(move || std::future::ready(place.open())))
}

macro_rules! suite {
    ($name:ident, $change:expr) => {
        mod $name {
            use super::*;

            kiln_conformance::artifacts_suite!(match fresh(stringify!($name), $change) {
                Some(fresh) => fresh,
                None => return,
            });
        }
    };
}

suite!(s3s_by_path, |_| {});
suite!(s3s_by_host, |place| {
    // Nothing resolves the name of the bucket, so the server is its own proxy.
    place.config.proxy = place.config.endpoint.take();
    place.config.endpoint = Some(Url::parse(&format!("http://{}", place.domain)).unwrap());
    place.config.style = Style::Host;
});
