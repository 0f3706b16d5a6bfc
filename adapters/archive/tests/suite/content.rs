//! What comes out of an archive.

use super::{Pack, files, holds, run, unpack, unpack_by};
use kiln::ErrorKind;
use std::{fs, io::Write, os::unix::fs::MetadataExt};

#[test]
fn files_links_and_modes_come_out_as_they_went_in() {
    run("files_links_and_modes_come_out", async {
        let archive = Pack::new()
            .dir("./", 0o700)
            .dir("./bin/", 0o555)
            .raw("./bin/run", tar::EntryType::Regular, "", 0o4755, "#!")
            .file("deep/er/f", "in directories that have no entry")
            .link("bin/sh", "/bin/../bin/busybox")
            .link("up", "../../etc/passwd")
            .hard("again", "bin/run")
            .file("secret", "")
            .raw("secret", tar::EntryType::Regular, "", 0o000, "the later one counts")
            .done();
        let found = unpack(archive).await.unwrap();
        holds(
            &found,
            &[
                ("bin", "dir 755"),
                ("bin/run", "755:#!"),
                ("bin/sh", "-> /bin/../bin/busybox"),
                ("again", "755:#!"),
                ("deep", "dir 755"),
                ("deep/er", "dir 755"),
                ("deep/er/f", "644:in directories that have no entry"),
                ("up", "-> ../../etc/passwd"),
                ("secret", "400:the later one counts"),
            ],
        );
    });
}

#[test]
fn an_archive_may_be_compressed() {
    run("an_archive_may_be_compressed", async {
        let plain = Pack::new().file("f", &"text ".repeat(10_000)).done();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&plain[..], 3).unwrap();
        assert!(gzip.len() < plain.len() / 5 && zstd.len() < plain.len() / 5);
        let expected = unpack(plain).await.unwrap();
        assert_eq!(unpack(gzip.clone()).await.unwrap(), expected);
        assert_eq!(unpack(zstd).await.unwrap(), expected);
        for (bad, kind) in [
            (gzip[..gzip.len() - 20].to_vec(), ErrorKind::Invalid),
            (b"BZh91AY&SY".to_vec(), ErrorKind::Unsupported),
            (b"PK\x03\x04".to_vec(), ErrorKind::Unsupported),
            (b"".to_vec(), ErrorKind::Invalid),
        ] {
            let e = unpack(bad).await.unwrap_err();
            assert_eq!(e.kind(), kind, "{e:?}");
        }
    });
}

#[test]
fn a_part_of_an_archive_can_be_had() {
    run("a_part_of_an_archive_can_be_had", async {
        let archive = || Pack::new().file("repo-1/sub/f", "x").file("repo-1/g", "y").done();
        let part = unpack_by(super::open(), archive(), "repo-1/sub").await.unwrap();
        holds(&part, &[("f", "644:x")]);
        let none = unpack_by(super::open(), archive(), "repo").await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound, "{none:?}");
    });
}

#[test]
fn what_the_tar_of_this_machine_writes_is_read() {
    run("what_the_tar_of_this_machine_writes", async {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("ü".repeat(60)), "long").unwrap();
        fs::write(dir.path().join("f"), "x").unwrap();
        fs::hard_link(dir.path().join("f"), dir.path().join("g")).unwrap();
        std::os::unix::fs::symlink("x".repeat(200), dir.path().join("l")).unwrap();
        let expected = files(dir.path());
        for format in ["gnu", "pax"] {
            let packed = std::process::Command::new("tar")
                .args(["--format", format, "-cf", "-", "-C"])
                .arg(dir.path())
                .arg(".")
                .output()
                .unwrap();
            assert!(packed.status.success(), "{packed:?}");
            assert_eq!(unpack(packed.stdout).await.unwrap(), expected, "{format}");
        }
    });
}

#[test]
fn files_are_as_old_as_the_archive_says() {
    run("files_are_as_old_as_the_archive_says", async {
        let (artifacts, source) = super::source(super::open());
        let archive = Pack::new().dir("d/", 0o755).file("d/f", "x").link("d/l", "f").done();
        let spec = super::upload(&*artifacts, "context.tar", archive).await;
        let step = kiln_conformance::step::TestStep::new();
        let into = tempfile::tempdir().unwrap();
        let revision = kiln::port::Source::resolve(&source, &step, &spec).await.unwrap();
        let to = into.path().join("a");
        kiln::port::Source::fetch(&source, &step, &spec, &revision, &to).await.unwrap();
        for name in ["d", "d/f", "d/l"] {
            let meta = fs::symlink_metadata(to.join(name)).unwrap();
            assert_eq!(meta.mtime(), 1_000_000_000, "{name}");
        }
    });
}

#[test]
fn the_workspace_itself_keeps_what_else_is_in_it() {
    run("the_workspace_itself_keeps_what_else", async {
        let workspace = tempfile::tempdir().unwrap();
        for name in ["other", "d", "d/old"] {
            fs::create_dir(workspace.path().join(name)).unwrap();
        }
        let (artifacts, source) = super::source(super::open());
        let archive = Pack::new().file("d/f", "x").file("g", "y").done();
        let spec = super::upload(&*artifacts, "context.tar", archive).await;
        let step = kiln_conformance::step::TestStep::new().workspace(workspace.path());
        let revision = kiln::port::Source::resolve(&source, &step, &spec).await.unwrap();
        let into = workspace.path();
        kiln::port::Source::fetch(&source, &step, &spec, &revision, into).await.unwrap();
        let expected = [("d", "dir 755"), ("d/f", "644:x"), ("g", "644:y"), ("other", "dir 755")];
        holds(&files(workspace.path()), &expected);
    });
}
