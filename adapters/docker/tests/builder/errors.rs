//! What is said when a build cannot be made.

use crate::bench::{Bench, WAYS, Way};
use kiln::ErrorKind;
use kiln_conformance::run;
use std::os::unix::fs::symlink;

#[test]
fn a_line_that_cannot_be_read_is_shown() {
    for way in WAYS {
        run("a_line_that_cannot_be_read", async {
            let Some(bench) = Bench::new("a_line_that_cannot_be_read", way).await else { return };
            let e = bench.build(&bench.on_busybox("\nRUM true")).await.0.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid, "{e:?}");
            let text = e.to_string();
            assert!(text.contains("at: Dockerfile:6"), "{way:?}: {text}");
            assert!(way == Way::Archive || text.contains("text: RUM true"), "{way:?}: {text}");
        });
    }
}

#[test]
fn what_is_not_there_cannot_be_copied() {
    for way in WAYS {
        run("what_is_not_there", async {
            let Some(bench) = Bench::new("what_is_not_there", way).await else { return };
            symlink("/etc/hostname", bench.dir.path().join("link")).unwrap();
            symlink("../..", bench.dir.path().join("up")).unwrap();
            for source in ["nope", "link", "up/etc/hostname"] {
                let e = bench.build(&bench.on_busybox(&format!("COPY {source} /x"))).await.0;
                let e = e.unwrap_err();
                assert_eq!(e.kind(), ErrorKind::Failed, "{way:?} {source}: {e:?}");
                assert!(source != "nope" || e.to_string().contains("nope"), "{way:?}: {e}");
            }
        });
    }
}

#[test]
fn a_context_above_the_limit_is_not_sent() {
    for way in [Way::Session, Way::Classic] {
        run("a_context_above_the_limit", async {
            let limit = |config: &mut kiln_docker::DockerConfig| config.context_bytes_max = 1 << 20;
            let test = "a_context_above_the_limit";
            let Some(bench) = Bench::with(test, way, limit).await else { return };
            bench.write("big", vec![0; 2 << 20]);
            let e = bench.build(&bench.on_busybox("")).await.0.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Invalid);
            assert!(e.to_string().contains("big (2097152 bytes)"), "{e}");
        });
    }
}

#[test]
fn a_base_that_does_not_exist_is_not_found() {
    for way in WAYS {
        run("a_base_that_does_not_exist", async {
            let Some(bench) = Bench::new("a_base_that_does_not_exist", way).await else { return };
            bench.write("Dockerfile", "FROM localhost:1/kiln-suite/none\n");
            let e = bench.build(&bench.spec()).await.0.unwrap_err();
            // Nothing listens there.
            assert_eq!(e.kind(), ErrorKind::Unavailable, "{e:?}");
        });
    }
}
