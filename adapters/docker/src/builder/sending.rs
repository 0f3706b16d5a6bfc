//! How a context goes to the engine: as directories to ask for, or as one archive.

use super::{
    recipe::{Contents, Dockerfile, Prepared},
    trouble::Trouble,
    wire::Body,
};
use crate::context::Files;
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use kiln::{
    BuildId, BuildSpec, StepCx, StepLog,
    port::{Progress, ProgressUnit},
};
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, path::Path, sync::Arc};
use tokio_stream::wrappers::ReceiverStream;

/// How many bytes of an archive are read at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// What a session offers: the context, and the Dockerfile alone in a directory of its own. Nothing
/// if the context has to go as an archive.
pub(super) fn directories(prepared: &Prepared) -> HashMap<&'static str, Arc<Files>> {
    let Prepared { dockerfile, context: Contents::Files(files, _) } = prepared else {
        return HashMap::new();
    };
    let name = dockerfile.base_name();
    let text = dockerfile.text.as_deref().unwrap_or_default();
    let mut alone = Files::only(name, text.as_bytes());
    if let Some(own) = files.own_ignore() {
        alone.add(&format!("{name}.dockerignore"), own.as_bytes());
    }
    HashMap::from([("dockerfile", Arc::new(alone)), ("context", files.clone())])
}

/// What the engine keeps the files of a context under. The same directory of the same owner on the
/// same host finds them again; a build without the cache shares them with nobody.
pub(super) fn shared_key(cx: &StepCx, spec: &BuildSpec, context: &Contents) -> String {
    let root: &Path = match context {
        Contents::Files(_, Some(root)) if !spec.no_cache => root,
        _ => return BuildId::random().to_string(),
    };
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let mut hash = Sha256::new();
    let host = rustix::system::uname();
    let parts = [cx.owner.as_str().as_bytes(), host.nodename().to_bytes()];
    for part in parts.into_iter().chain([root.as_os_str().as_encoded_bytes()]) {
        // With its length, so that no two lists of parts read alike.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// No body: the engine asks for what it needs.
pub(super) fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// The context as an archive.
pub(super) fn archive(
    cx: &StepCx,
    dockerfile: &Dockerfile,
    context: Contents,
    trouble: &Trouble,
) -> Body {
    let pieces = match context {
        Contents::Files(files, _) => {
            let mut files = Arc::unwrap_or_clone(files);
            if let (false, Some(text)) = (dockerfile.inside, &dockerfile.text) {
                files.add(&dockerfile.name, text.as_bytes());
            }
            let told = tell(cx.log.clone(), files.bytes());
            ReceiverStream::new(files.stream(cx.cancel.clone(), told)).boxed()
        }
        Contents::Archive(file) => {
            let read = futures::stream::try_unfold(file, |mut file| async move {
                use tokio::io::AsyncReadExt;
                let mut piece = vec![0; PIECE_BYTES];
                let n = file.read(&mut piece).await?;
                piece.truncate(n);
                Ok((n > 0).then(|| (Bytes::from(piece), file)))
            });
            read.boxed()
        }
    };
    let noted = trouble.clone();
    let frames = pieces.map(move |piece| piece.inspect_err(|e| noted.note(e)).map(Frame::data));
    StreamBody::new(frames).boxed_unsync()
}

fn tell(log: StepLog, total: u64) -> impl FnMut(u64) + Send + 'static {
    let mut done = 0;
    move |n| {
        done += n;
        log.progress(Progress {
            item: "context".into(),
            action: "Sending".into(),
            done,
            total: Some(total),
            unit: ProgressUnit::Bytes,
        });
    }
}
