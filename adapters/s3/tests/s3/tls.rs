//! Certificates of an authority of one's own, by a stand-in: openssl's own server, which says the
//! same page to every request.

use kiln::ErrorKind;
use kiln_s3::{Credentials, S3Artifacts, S3Config};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

const TEST: &str = "a_certificate_is_trusted_when_its_authority_is_named";

/// Runs openssl in a directory; false where there is none.
fn openssl(dir: &Path, args: &str) -> bool {
    let mut command = Command::new("openssl");
    command.args(args.split_whitespace()).current_dir(dir);
    match command.output() {
        Ok(done) => {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            true
        }
        Err(e) => {
            println!("SKIPPED: {TEST}: openssl does not start: {e}");
            false
        }
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts a server with a certificate of the authority `ca.pem`; its address.
fn serve(dir: &Path) -> Option<(Server, String)> {
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(dir.join("ext"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    let made = openssl(dir, &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -subj /CN=ca"))
        && openssl(dir, &format!("req {KEY} -keyout key -out csr -subj /CN=server"))
        && openssl(
            dir,
            "x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -out cert",
        );
    if !made {
        return None;
    }
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", "127.0.0.1:0", "-cert", "cert", "-key", "key", "-www"]);
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let server = Server(child);
    let address = lines.find_map(|line| Some(line.unwrap().strip_prefix("ACCEPT ")?.to_owned()));
    // Its words are read to the end, or it stops at a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    Some((server, address.expect("it says where it listens")))
}

#[test]
fn a_certificate_is_trusted_when_its_authority_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_server, address)) = serve(dir.path()) else { return };
    kiln_conformance::run(TEST, async move {
        let mut config = S3Config::parse(&format!("s3://kiln?endpoint=https://{address}")).unwrap();
        let kind = async |config: &S3Config| {
            let store = S3Artifacts::new(config, &Credentials::new("a", "b")).unwrap();
            store.check().await.unwrap_err().kind()
        };
        assert_eq!(kind(&config).await, ErrorKind::Unavailable);
        config.ca = Some(dir.path().join("ca.pem"));
        // It was reached, and what it said was read.
        assert_eq!(kind(&config).await, ErrorKind::Unexpected);
        for wrong in ["ext", "none"] {
            config.ca = Some(dir.path().join(wrong));
            let e = S3Artifacts::new(&config, &Credentials::new("a", "b")).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid, "{wrong}");
        }
    });
}
