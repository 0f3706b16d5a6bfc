//! The files of a session: the engine is told what there is, and asks for what it does not have.
//!
//! The protocol is that of `github.com/tonistiigi/fsutil`. We tell of every entry (`STAT`, counted
//! from 0, an empty one last), it asks by number (`REQ`), we send in pieces (`DATA`, an empty one
//! last), it says that it is done (`FIN`), and we say so too.

use super::choice::Wanted;
use crate::{
    builder::trouble::Trouble,
    context::{Entry, Files, Kind, Opener, resized},
};
use async_trait::async_trait;
use bollard::{
    fsutil::types::{Packet, Stat, packet::PacketType},
    moby::filesync::packet::file_sync_server::FileSync,
};
use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    sync::Arc,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

/// How many bytes of a file go into one message.
const PIECE_BYTES: usize = 64 * 1024;
/// How many messages wait for the connection at most.
const AHEAD: usize = 16;

/// The directories of one build.
#[derive(Debug)]
pub(super) struct Sync {
    directories: HashMap<&'static str, Arc<Files>>,
    trouble: Trouble,
}

/// What the engine says while it takes files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    File(u32),
    Over,
}

impl Sync {
    pub(super) fn new(directories: HashMap<&'static str, Arc<Files>>, trouble: Trouble) -> Self {
        Self { directories, trouble }
    }
}

#[async_trait]
impl FileSync for Sync {
    type DiffCopyStream = ReceiverStream<Result<Packet, Status>>;
    type TarStreamStream = ReceiverStream<Result<Packet, Status>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let metadata = request.metadata();
        let name = values(metadata, "dir-name").into_iter().next().unwrap_or_default();
        let files = self.directories.get(name.as_str()).cloned();
        let files = files
            .ok_or_else(|| Status::not_found(format!("the build has no directory `{name}`")))?;
        let wanted = Wanted {
            include: values(metadata, "include-patterns"),
            exclude: values(metadata, "exclude-patterns"),
            follow: values(metadata, "followpaths"),
        };
        let (to, from) = mpsc::channel(AHEAD);
        // What it asks is taken in at once, since many small frames that wait end the connection.
        // Each file is asked for once, so that there are never more than there are files.
        let (ask, asked) = mpsc::unbounded_channel();
        tokio::spawn(listen(request.into_inner(), ask, files.len()));
        let trouble = self.trouble.clone();
        tokio::task::spawn_blocking(move || {
            let sent = Transfer { files: &files, to: &to }.run(&wanted, asked);
            if let Err(e) = sent {
                trouble.note(&e);
                // Nobody listens any more: there is nobody to tell.
                let _ = to.blocking_send(Err(Status::aborted(e.to_string())));
            }
        });
        Ok(Response::new(ReceiverStream::new(from)))
    }

    async fn tar_stream(
        &self,
        _: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("ask for `DiffCopy`"))
    }
}

/// All values under a name. Newer engines escape what is not ASCII and say so under another name.
fn values(metadata: &MetadataMap, name: &str) -> Vec<String> {
    let escaped = metadata
        .get(format!("{name}-encoded"))
        .is_some_and(|v| matches!(v.as_bytes(), b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True"));
    let text = |bytes: &[u8]| {
        if !escaped {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        // A form field without a name is just such an escaped text.
        let form = [b"=", bytes].concat();
        url::form_urlencoded::parse(&form).map(|(_, value)| value).collect()
    };
    metadata.get_all(name).iter().map(|v| text(v.as_bytes())).collect()
}

/// Hands on what the engine asks, until it is done or gone, or asked for more than there is.
async fn listen(mut from: Streaming<Packet>, ask: mpsc::UnboundedSender<Asked>, most: usize) {
    let mut count = 0;
    while let Ok(Some(packet)) = from.message().await {
        let asked = match packet.r#type() {
            PacketType::PacketReq => Asked::File(packet.id),
            PacketType::PacketFin => Asked::Over,
            // What went wrong over there is told in the build's own answer.
            PacketType::PacketErr => return,
            PacketType::PacketStat | PacketType::PacketData => continue,
        };
        count += 1;
        if ask.send(asked).is_err() || asked == Asked::Over || count > most {
            return;
        }
    }
}

struct Transfer<'a> {
    files: &'a Files,
    to: &'a mpsc::Sender<Result<Packet, Status>>,
}

/// The engine left: the build is over, cancelled or told of its error elsewhere.
struct Gone;

impl Transfer<'_> {
    fn run(&self, wanted: &Wanted, asked: mpsc::UnboundedReceiver<Asked>) -> io::Result<()> {
        let entries = self.files.entries();
        let chosen = wanted
            .of(entries)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e.to_string()))?;
        for &i in &chosen {
            if self.send(told(&entries[i])).is_err() {
                return Ok(());
            }
        }
        if self.send(packet(PacketType::PacketStat)).is_err() {
            return Ok(());
        }
        self.answer(&chosen, asked)
    }

    fn answer(
        &self,
        chosen: &[usize],
        mut asked: mpsc::UnboundedReceiver<Asked>,
    ) -> io::Result<()> {
        let mut opener = self.files.root().map(Opener::new);
        let mut sent = HashSet::new();
        while let Some(Asked::File(id)) = asked.blocking_recv() {
            let place = usize::try_from(id).ok().and_then(|id| chosen.get(id));
            let Some(entry) = place.map(|&i| &self.files.entries()[i]) else {
                return Err(io::Error::other("the engine asked for a file that is not there"));
            };
            if !sent.insert(id) {
                return Err(io::Error::other("the engine asked for a file twice"));
            }
            if self.content(id, entry, opener.as_mut())?.is_err() {
                return Ok(());
            }
        }
        // It may be gone; then nobody wants to know.
        let _ = self.send(packet(PacketType::PacketFin));
        Ok(())
    }

    fn content(
        &self,
        id: u32,
        entry: &Entry,
        opener: Option<&mut Opener<'_>>,
    ) -> io::Result<Result<(), Gone>> {
        let piece = |data| Packet { id, data, ..packet(PacketType::PacketData) };
        match (&entry.kind, opener) {
            (Kind::Held(content), _) => {
                for part in content.chunks(PIECE_BYTES) {
                    if self.send(piece(part.to_vec())).is_err() {
                        return Ok(Err(Gone));
                    }
                }
            }
            (Kind::File(bytes), Some(opener)) => {
                let mut file = opener.open(&entry.path, *bytes)?;
                let mut left = *bytes;
                while left > 0 {
                    let room = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
                    let mut data = vec![0; room];
                    let n = file.read(&mut data)?;
                    if n == 0 {
                        return Err(resized(&entry.path));
                    }
                    data.truncate(n);
                    left -= n as u64;
                    if self.send(piece(data)).is_err() {
                        return Ok(Err(Gone));
                    }
                }
                if file.read(&mut [0])? > 0 {
                    return Err(resized(&entry.path));
                }
            }
            _ => return Err(io::Error::other("the engine asked for what is no file")),
        }
        Ok(self.send(piece(Vec::new())))
    }

    fn send(&self, packet: Packet) -> Result<(), Gone> {
        self.to.blocking_send(Ok(packet)).map_err(|_| Gone)
    }
}

fn packet(kind: PacketType) -> Packet {
    Packet { r#type: kind.into(), ..Packet::default() }
}

/// What the engine is told of an entry.
fn told(entry: &Entry) -> Packet {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let linkname = match &entry.kind {
        Kind::Link(target) => text(target),
        _ => String::new(),
    };
    let bytes = match &entry.kind {
        Kind::Link(_) => linkname.len() as u64,
        _ => entry.bytes(),
    };
    let stat = Stat {
        path: text(&entry.path),
        mode: go_mode(entry),
        size: i64::try_from(bytes).unwrap_or(i64::MAX),
        mod_time: entry.modified,
        linkname,
        // The owner is root, as Docker's own client has it.
        ..Stat::default()
    };
    Packet { stat: Some(stat), ..packet(PacketType::PacketStat) }
}

/// A mode as Go writes it: the permissions are where Unix has them, and nothing else is. Source:
/// `pkg.go.dev/io/fs#FileMode`.
fn go_mode(entry: &Entry) -> u32 {
    const DIRECTORY: u32 = 1 << 31;
    const LINK: u32 = 1 << 27;
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let kind = match &entry.kind {
        Kind::File(_) | Kind::Held(_) => 0,
        Kind::Directory => DIRECTORY,
        Kind::Link(_) => LINK,
    };
    let set = special.into_iter().filter(|(unix, _)| entry.mode & unix != 0);
    set.fold(kind | (entry.mode & 0o777), |mode, (_, go)| mode | go)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::CancelToken;
    use std::path::Path;

    /// A transfer in which the engine says this. The packets come as short texts.
    fn play(files: Files, asked: &[Asked]) -> (Vec<String>, io::Result<()>) {
        let (to, mut from) = mpsc::channel(1000);
        let (ask, asking) = mpsc::unbounded_channel();
        asked.iter().for_each(|a| ask.send(*a).unwrap());
        drop(ask);
        let over = Transfer { files: &files, to: &to }.run(&Wanted::default(), asking);
        drop(to);
        let mut seen = Vec::new();
        while let Ok(packet) = from.try_recv() {
            let packet = packet.unwrap();
            seen.push(match (packet.r#type(), packet.stat) {
                (PacketType::PacketStat, Some(s)) => format!("{} {:o} {}", s.path, s.mode, s.size),
                (PacketType::PacketStat, None) => "stats end".into(),
                (PacketType::PacketData, _) => format!("{}: {}", packet.id, packet.data.len()),
                (kind, _) => format!("{kind:?}"),
            });
        }
        (seen, over)
    }

    fn tree() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/big"), vec![7; PIECE_BYTES + 1]).unwrap();
        std::fs::write(dir.path().join("empty"), "").unwrap();
        std::os::unix::fs::symlink("d/big", dir.path().join("link")).unwrap();
        let files = Files::of(dir.path(), None, u64::MAX, &CancelToken::new()).unwrap();
        (dir, files)
    }

    #[test]
    fn files_are_told_of_and_sent_when_asked_for() {
        let (_dir, files) = tree();
        let (seen, over) = play(files, &[Asked::File(1), Asked::File(2), Asked::Over]);
        over.unwrap();
        let told = ["d 20000000755 0", "d/big 644 65537", "empty 644 0", "link 1000000777 5"];
        let sent = ["stats end", "1: 65536", "1: 1", "1: 0", "2: 0", "PacketFin"];
        assert_eq!(seen, [&told[..], &sent[..]].concat());
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in
            [&[Asked::File(9)][..], &[Asked::File(0)], &[Asked::File(3)], &[Asked::File(2); 2]]
        {
            let (_dir, files) = tree();
            assert!(play(files, bad).1.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_file_that_changes_its_size_is_told_by_name() {
        let (dir, files) = tree();
        std::fs::write(dir.path().join("d/big"), "short").unwrap();
        let e = play(files, &[Asked::File(1)]).1.unwrap_err();
        assert!(e.to_string().contains("`d/big` changed its size"), "{e}");
        let (dir, files) = tree();
        std::fs::remove_file(dir.path().join("d/big")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("d/big")).unwrap();
        assert!(play(files, &[Asked::File(1)]).1.is_err());
    }

    #[test]
    fn names_are_read_as_newer_engines_escape_them() {
        let mut metadata = MetadataMap::new();
        metadata.append("followpaths", "a%20b%C3%A9+c&d=e".parse().unwrap());
        assert_eq!(values(&metadata, "followpaths"), ["a%20b%C3%A9+c&d=e"]);
        metadata.insert("followpaths", "a%20b%C3%A9+c%26d%3De".parse().unwrap());
        metadata.insert("followpaths-encoded", "1".parse().unwrap());
        assert_eq!(values(&metadata, "followpaths"), ["a bé c&d=e"]);
    }

    #[test]
    fn modes_are_written_as_go_has_them() {
        let entry = |kind, mode| Entry { path: Path::new("x").into(), kind, mode, modified: 0 };
        assert_eq!(go_mode(&entry(Kind::File(0), 0o7755)), 0o755 | 1 << 23 | 1 << 22 | 1 << 20);
        assert_eq!(go_mode(&entry(Kind::Directory, 0o1777)), 0o777 | 1 << 31 | 1 << 20);
    }
}
