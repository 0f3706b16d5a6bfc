//! Engines that are not there, or not for this user.

use crate::authority::{engine_socket, real};
use kiln::{Error, ErrorKind};
use kiln_conformance::run;
use kiln_docker::{DockerClient, DockerConfig};
use std::{
    os::unix::{fs::PermissionsExt, net::UnixListener, process::CommandExt},
    process::Command,
    time::{Duration, Instant},
};

/// How long an answer may take on a machine that has much to do, and no answer never.
const PATIENCE: Duration = Duration::from_secs(60);

/// The error of an engine at an address, which has to come without a wait.
async fn refused(host: &str) -> Error {
    let config = DockerConfig { host: host.parse().unwrap(), ..DockerConfig::default() };
    // Nothing is wrong with preparing a connection.
    let client = DockerClient::new(config).unwrap();
    let start = Instant::now();
    let e = client.info().await.unwrap_err();
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    e
}

#[test]
fn an_engine_that_does_not_run_is_said_so() {
    run("an_engine_that_does_not_run_is_said_so", async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let host = format!("unix://{}", path.display());
        let nothing = refused(&host).await;
        assert!(nothing.to_string().contains("no Docker engine at this socket"), "{nothing:?}");
        // As a killed engine leaves it.
        drop(UnixListener::bind(&path).unwrap());
        let left = refused(&host).await;
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let tcp = refused(&format!("tcp://{closed}")).await;
        let unknown = refused("tcp://docker.invalid:2375").await;
        for (e, hint) in [
            (nothing, "systemctl start docker"),
            (left, "systemctl start docker"),
            (tcp, "DOCKER_HOST is right"),
            (unknown, "DOCKER_HOST is right"),
        ] {
            assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
            assert!(e.hint_text().unwrap().contains(hint), "{e:?}: {:?}", e.hint_text());
            assert!(e.to_string().contains("engine: "), "{e:?}");
        }
    });
}

#[test]
fn an_engine_that_says_nothing_is_given_up() {
    run("an_engine_that_says_nothing_is_given_up", async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker.sock");
        let _held = UnixListener::bind(&path).unwrap();
        let host = format!("unix://{}", path.display());
        let config = DockerConfig { host: host.parse().unwrap(), ..DockerConfig::default() };
        let start = Instant::now();
        let e = DockerClient::new(config).unwrap().info().await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unavailable);
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    });
}

#[test]
#[ignore = "a part of `a_user_outside_the_group_is_told_of_it`"]
fn as_a_stranger() {
    run("child", async {
        let e = refused(&std::env::var("KILN_CHILD_HOST").unwrap()).await;
        assert_eq!(e.kind(), ErrorKind::Denied, "{e:?}");
        assert!(e.hint_text().unwrap().contains("group `docker`"), "{:?}", e.hint_text());
    });
}

#[test]
fn a_user_outside_the_group_is_told_of_it() {
    let test = "a_user_outside_the_group_is_told_of_it";
    // A socket that nobody but its owner may use, as the engine's.
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = dir.path().join("docker.sock");
    let _held = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    // The owner of everything may use it all the same, so become a stranger.
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "absent::as_a_stranger", "--ignored"]);
    child.env("KILN_CHILD_HOST", format!("unix://{}", path.display()));
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|m| {
        use std::os::unix::fs::MetadataExt;
        m.uid() == 0
    });
    if is_root {
        child.uid(65534).gid(65534);
    }
    match child.output() {
        Ok(done) => {
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success() && said.contains("1 passed"), "{said}");
        }
        Err(e) => println!("SKIPPED: {test}: a stranger may not start this test: {e}"),
    }
}

#[test]
fn the_real_engine_answers() {
    let test = "the_real_engine_answers";
    if !real(test) {
        return;
    }
    run(test, async {
        let host = format!("unix://{}", engine_socket().display());
        let config = DockerConfig { host: host.parse().unwrap(), ..DockerConfig::default() };
        assert!(DockerClient::new(config).unwrap().info().await.unwrap().is_docker);
    });
}
