//! Archives that mean no good.

use super::{Pack, holds, open, refusal, run, unpack, unpack_by};
use kiln::ErrorKind;
use std::{fs, io::Write};
use tar::EntryType;

#[test]
fn nothing_is_written_outside() {
    run("nothing_is_written_outside", async {
        let outside = tempfile::tempdir().unwrap();
        let there = outside.path().to_str().unwrap();
        for (what, archive) in [
            ("an absolute path", Pack::new().file(&format!("{there}/f"), "x")),
            ("a path upwards", Pack::new().file("../f", "x")),
            ("a path that goes down first", Pack::new().file("a/../../f", "x")),
            ("a directory upwards", Pack::new().dir("../d/", 0o755)),
            ("through a link", Pack::new().link("d", there).file("d/f", "x")),
            ("through two links", Pack::new().link("a", there).link("a/b", "x")),
            ("a directory that is a link", Pack::new().link("d", there).dir("d/e/", 0o755)),
            ("another name of a file outside", Pack::new().hard("f", "/etc/passwd")),
            ("another name through a link", Pack::new().link("d", "/etc").hard("f", "d/passwd")),
            ("another name of a link", Pack::new().link("l", "/etc/passwd").hard("f", "l")),
            ("another name of a directory", Pack::new().dir("d/", 0o755).hard("f", "d")),
        ] {
            let e = refusal(archive.done()).await;
            assert_eq!(e.kind(), ErrorKind::Invalid, "{what}: {e:?}");
            assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "{what}");
        }
    });
}

#[test]
fn a_link_that_a_later_entry_replaces_leads_nowhere() {
    run("a_link_that_a_later_entry_replaces", async {
        let outside = tempfile::tempdir().unwrap();
        let file = outside.path().join("f");
        fs::write(&file, "untouched").unwrap();
        let archive = Pack::new()
            .link("l", file.to_str().unwrap())
            .file("l", "mine")
            .link("d", outside.path().to_str().unwrap())
            .dir("d/", 0o755)
            .file("d/f", "mine too")
            .done();
        let expected = [("l", "644:mine"), ("d", "dir 755"), ("d/f", "644:mine too")];
        holds(&unpack(archive).await.unwrap(), &expected);
        assert_eq!(fs::read_to_string(file).unwrap(), "untouched");
    });
}

#[test]
fn only_files_directories_and_links_are_unpacked() {
    run("only_files_directories_and_links", async {
        for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::new(b'?')] {
            let e = refusal(Pack::new().raw("x", kind, "", 0o666, "").done()).await;
            assert_eq!(e.kind(), ErrorKind::Invalid, "{kind:?}: {e:?}");
        }
        let sparse =
            refusal(Pack::new().raw("x", EntryType::GNUSparse, "", 0o644, "").done()).await;
        assert_eq!(sparse.kind(), ErrorKind::Unsupported, "{sparse:?}");
        for archive in [
            Pack::new().file("a", "x").file("a/b", "y"),
            Pack::new().dir("a/", 0o755).file("a", "y"),
            Pack::new().link("l", ""),
        ] {
            let e = refusal(archive.done()).await;
            assert_eq!(e.kind(), ErrorKind::Invalid, "{e:?}");
        }
    });
}

#[test]
fn limits_hold_whatever_the_compression_hides() {
    run("limits_hold_whatever_the_compression_hides", async {
        let mut config = open();
        (config.files_max, config.written_max) = (10, 1 << 20);
        let limited = |archive| unpack_by(config.clone(), archive, "");
        let many = (0..11).fold(Pack::new(), |pack, i| pack.file(&i.to_string(), ""));
        let large = Pack::new().file("f", &"x".repeat((1 << 20) + 1));
        for archive in [many.done(), large.done()] {
            let e = limited(archive).await.unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Exhausted, "{e:?}");
        }
        let fits = Pack::new().file("f", &"x".repeat(1 << 20)).done();
        assert!(limited(fits).await.is_ok());
        // 64 MiB in an entry that is not wanted: nothing is written, and yet it has an end.
        let zeros = "\0".repeat(64 << 20);
        let bomb = Pack::new().file("a/f", &zeros).file("b/f", "x").done();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&bomb).unwrap();
        let e = unpack_by(config.clone(), gzip.finish().unwrap(), "b").await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Exhausted, "{e:?}");
        // A path that no program can open.
        let deep = (0..45).map(|_| "d").collect::<Vec<_>>().join("/");
        let inner = Pack::new().file(&deep, "x");
        assert!(unpack(inner.done()).await.is_ok());
    });
}

#[test]
fn names_that_draw_on_a_terminal_are_not_repeated() {
    run("names_that_draw_on_a_terminal", async {
        let e = refusal(Pack::new().file("../\u{1b}[2Jx", "").done()).await;
        assert!(!format!("{e} {e:?}").contains('\u{1b}'), "{e:?}");
    });
}

#[test]
fn a_link_in_the_workspace_leads_nowhere() {
    run("a_link_in_the_workspace_leads_nowhere", async {
        let (workspace, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), workspace.path().join("a")).unwrap();
        let (artifacts, source) = super::source(open());
        let archive = Pack::new().file("f", "x").done();
        let spec = super::upload(&*artifacts, "context.tar", archive).await;
        let step = kiln_conformance::step::TestStep::new().workspace(workspace.path());
        let revision = kiln::port::Source::resolve(&source, &step, &spec).await.unwrap();
        let into = workspace.path().join("a/src");
        let fetched = kiln::port::Source::fetch(&source, &step, &spec, &revision, &into).await;
        assert_eq!(fetched.unwrap_err().kind(), ErrorKind::Denied);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        // The place itself may be one: it is replaced, and not what it leads to.
        let into = workspace.path().join("a");
        kiln::port::Source::fetch(&source, &step, &spec, &revision, &into).await.unwrap();
        assert_eq!(fs::read_to_string(into.join("f")).unwrap(), "x");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    });
}
