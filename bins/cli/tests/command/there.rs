//! The same commands with a server.

use crate::{
    bench::{Bench, Said, real},
    host::Host,
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

fn end(child: Child) -> Said {
    child.wait_with_output().unwrap().into()
}

/// A bench and a server, where both are wanted and there.
fn both(test: &str) -> Option<(Bench, Host)> {
    let bench = real(test)?;
    Some((bench, Host::start(test)?))
}

fn repository(bench: &Bench, dockerfile: &str) -> (tempfile::TempDir, String) {
    let dir = bench.context(dockerfile, &[("f", "from the source\n")]);
    bench.git(dir.path());
    let url = format!("file://{}", dir.path().display());
    (dir, url)
}

#[test]
fn a_repository_is_built_by_a_server_as_it_is_here() {
    let Some((bench, host)) = both("a_repository_is_built_by_a_server") else { return };
    let (_dir, url) = repository(&bench, "FROM {base}\nCOPY f /f\nRUN cat /f\n");
    let run = host.kiln(&bench, &["build", &url, "--no-cache", "--json"]);
    assert_eq!(run.code, 0, "{run:?}");
    let result = run.last();
    assert_eq!((&result["type"], &result["outcome"]), (&"result".into(), &"succeeded".into()));
    let events = run.json().iter().filter(|line| line["type"] == "event").count();
    assert!(events > 4, "{run:?}");
    let id = result["build"].as_str().unwrap();
    let logs = host.kiln(&bench, &["logs", &id[..8]]);
    assert!(logs.out.contains("[build] from the source\n"), "{logs:?}");
    assert_eq!(logs.out, host.kiln(&bench, &["logs", "-f"]).out);
    let view = host.kiln(&bench, &["show", "--json"]).last();
    assert_eq!((&view["build"], &view["status"]), (&id.into(), &"succeeded".into()));
    let label = bench.label();
    let list = host.kiln(&bench, &["builds", "--json", "--label", &label, "--all"]);
    assert_eq!(list.json().len(), 1, "{list:?}");
    let late = host.kiln(&bench, &["cancel", id]);
    assert!(late.code == 1 && late.err.contains("over already"), "{late:?}");
    let quiet = host.kiln(&bench, &["build", &url, "--quiet"]);
    assert_eq!((quiet.code, quiet.err.as_str()), (0, ""), "{quiet:?}");
    assert!(quiet.out.starts_with("sha256:"), "{quiet:?}");
    // Nothing of it is here.
    assert!(!bench.home().join("kiln.db").exists());
}

#[test]
fn a_recipe_that_fails_ends_with_one_and_can_be_done_again() {
    let Some((bench, host)) = both("a_recipe_that_fails_with_a_server") else { return };
    let (_dir, url) = repository(&bench, "FROM {base}\nRUN echo so it goes; exit 7\n");
    let run = host.kiln(&bench, &["build", &url]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.err.contains("[build] ") && run.err.contains("so it goes"), "{run:?}");
    let again = host.kiln(&bench, &["retry", "--json"]);
    let result = again.last();
    assert_eq!((again.code, &result["outcome"]), (1, &"failed".into()), "{again:?}");
    let detached = host.kiln(&bench, &["retry", "--detach"]);
    assert_eq!((detached.code, detached.out.trim().len()), (0, 32), "{detached:?}");
    let list = host.kiln(&bench, &["builds", "--json"]);
    assert_eq!(list.json().len(), 3, "{list:?}");
}

/// Waits until the output of a command says something.
fn wait_for(lines: &mut impl Iterator<Item = std::io::Result<String>>, words: &str) -> Vec<String> {
    let mut said = Vec::new();
    loop {
        let line =
            lines.next().unwrap_or_else(|| panic!("never said {words:?}: {said:?}")).unwrap();
        let done = line.contains(words);
        said.push(line);
        if done {
            return said;
        }
    }
}

#[test]
fn a_log_is_followed_through_a_server_that_dies_without_a_byte_twice_or_missing() {
    let Some((bench, mut host)) = both("a_log_is_followed_through_a_server") else { return };
    let recipe = "FROM {base}\nRUN for i in $(seq 150); do echo line $i; sleep 0.1; done\n";
    let (_dir, url) = repository(&bench, recipe);
    let mut child = host.begin(&bench, &["build", &url, "--no-cache", "--json"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = wait_for(&mut lines, "line 5\\n");
    host.kill();
    host.wake();
    // What ran is lost with the server, and done again by the one that comes after it.
    seen.extend(lines.map(|line| line.unwrap()));
    let run = end(child);
    assert_eq!(run.code, 0, "{run:?} {seen:?}");
    assert!(run.err.contains("trying again") && run.err.contains("answers again"), "{run:?}");
    let seen = Said { out: seen.join("\n"), ..run };
    let logs = |said: &Said| -> Vec<_> {
        said.json().into_iter().filter(|line| line["type"] == "log").collect()
    };
    let (live, kept) = (logs(&seen), logs(&host.kiln(&bench, &["logs", "--json"])));
    let mut next = 0;
    for record in &live {
        assert_eq!(record["at"], next, "a gap or a repeat");
        next += record["text"].as_str().map_or(1, |text| text.len() as u64).max(1);
    }
    assert_eq!(live, kept);
}

/// What a command says after some point.
type Lines = std::sync::mpsc::Receiver<String>;

/// Starts a slow build with the server and waits until it runs; returns it with its id and what it
/// says from then on.
fn slow(bench: &Bench, host: &Host) -> (tempfile::TempDir, Child, String, Lines) {
    let (dir, url) = repository(bench, "FROM {base}\nRUN echo begun; sleep 60\n");
    let mut child = host.begin(bench, &["build", &url, "--no-cache", "--progress", "plain"]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    wait_for(&mut lines, "[build] begun");
    let (tell, said) = std::sync::mpsc::channel();
    // Whoever does not read what a process says stops it in the end.
    std::thread::spawn(move || lines.for_each(|line| drop(tell.send(line.unwrap()))));
    let id = host.kiln(bench, &["builds", "--json", "-n", "1"]).last()["build"].clone();
    (dir, child, id.as_str().unwrap().to_owned(), said)
}

#[test]
fn one_signal_cancels_and_two_leave_the_build_to_the_server() {
    let Some((bench, host)) = both("one_signal_cancels_with_a_server") else { return };
    let (_dir, child, id, _said) = slow(&bench, &host);
    bench.signal(&child, "INT");
    assert_eq!(end(child).code, 130);
    assert_eq!(host.kiln(&bench, &["show", &id, "--json"]).last()["status"], "cancelled");
    // A server that hangs cannot be waited for.
    let (_dir, child, id, said) = slow(&bench, &host);
    host.signal(&bench, "STOP");
    bench.signal(&child, "INT");
    // Until the first one was heard, two would be one.
    while !said.recv_timeout(Duration::from_secs(60)).unwrap().contains("once more") {}
    bench.signal(&child, "INT");
    assert_eq!(end(child).code, 130);
    host.signal(&bench, "CONT");
    // It may have heard of the first one all the same.
    host.kiln(&bench, &["cancel", &id]);
    assert_eq!(host.kiln(&bench, &["logs", "-f", &id]).code, 0);
    // A build that was asked to stop by nobody goes on when whoever looked on is gone.
    let (_dir, mut child, id, _said) = slow(&bench, &host);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(host.kiln(&bench, &["show", &id, "--json"]).last()["status"], "running");
    let asked = host.kiln(&bench, &["cancel", &id[..6]]);
    assert_eq!(asked.code, 0, "{asked:?}");
    let follow = host.kiln(&bench, &["logs", "-f", &id]);
    assert!(follow.code == 0 && follow.out.contains("[build] begun"), "{follow:?}");
}

#[test]
fn a_directory_is_sent_as_a_builder_here_would_read_it() {
    let Some((bench, host)) = both("a_directory_is_sent") else { return };
    let recipe = "FROM {base}\nCOPY . /src\nRUN ls -lR /src\n";
    let dir = bench.context(recipe, &[("f", "x"), ("a.log", "no"), ("b.sh", "echo")]);
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/keep.log"), "yes").unwrap();
    std::os::unix::fs::symlink("../../etc/passwd", dir.path().join("d/link")).unwrap();
    std::fs::set_permissions(dir.path().join("b.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    let own = dir.path().join("Dockerfile.dockerignore");
    std::fs::write(own, "*.log\n*.dockerignore\n").unwrap();
    std::fs::write(dir.path().join(".dockerignore"), "d\n").unwrap();
    let path = dir.path().to_str().unwrap();
    // A list of files says when they were changed, and the two are not made in one minute always.
    let old =
        bench.run("find", &[path, "-exec", "touch", "-h", "-d", "2001-02-03 04:05", "{}", "+"]);
    assert_eq!(old.code, 0, "{old:?}");
    let listed = |run: &Said| -> String {
        assert_eq!(run.code, 0, "{run:?}");
        let text =
            run.json().into_iter().filter_map(|line| Some(line["text"].as_str()?.to_owned()));
        let text: String = text.filter(|text| !text.starts_with('#')).collect();
        // BuildKit gives directories the time at which it wrote them last.
        let line = |line: &str| match line.strip_prefix('d') {
            Some(line) => line.split(" 4096 ").next().map(str::to_owned),
            None => Some(line.to_owned()),
        };
        text.lines().filter_map(line).collect::<Vec<_>>().join("\n")
    };
    let here = listed(&bench.kiln(&["build", path, "--no-cache", "--json"]));
    let there = host.kiln(&bench, &["build", path, "--no-cache", "--json"]);
    assert_eq!(here, listed(&there));
    assert!(here.contains("link -> ../../etc/passwd") && here.contains("keep.log"), "{here}");
    assert!(here.contains("-rwxr-xr-x") && !here.contains("a.log"), "{here}");
    assert!(here.lines().all(|line| !line.starts_with('-') || line.contains("2001")), "{here}");
    let what = host.kiln(&bench, &["show", "--json"]).last();
    assert_eq!(what["labels"]["kiln.what"], path);
    let archive = bench.run("tar", &["-C", path, "-czf", &format!("{path}/x.tgz"), "Dockerfile"]);
    assert_eq!(archive.code, 0, "{archive:?}");
    let bytes = std::fs::read(dir.path().join("x.tgz")).unwrap();
    let mut child = host
        .asked(&bench, &["build", "-q", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.as_mut().unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{said}");
}

#[test]
fn an_archive_is_fetched_and_kept_and_can_be_taken() {
    let Some((bench, host)) = both("an_archive_is_fetched_and_kept") else { return };
    let dir = bench.context("FROM {base}\nCOPY f /f\nRUN cat /f\n", &[("f", "archived\n")]);
    let archive = dir.path().join("x.tar.gz");
    let (path, file) = (dir.path().to_str().unwrap(), archive.to_str().unwrap());
    assert_eq!(bench.run("tar", &["-C", path, "-czf", file, "Dockerfile", "f"]).code, 0);
    let bytes = std::fs::read(&archive).unwrap();
    let url = format!("{}/x.tar.gz", fake("200 OK", bytes.clone()));
    for run in [
        bench.kiln(&["build", &url, "--json", "--no-cache"]),
        host.kiln(&bench, &["build", &url, "--json", "--no-cache"]),
    ] {
        assert!(run.code == 0 && run.out.contains("archived"), "{run:?}");
    }
    let id = host.kiln(&bench, &["show", "--json"]).last()["build"].clone();
    let id = id.as_str().unwrap();
    let listed = host.kiln(&bench, &["artifacts", id, "--json"]).last();
    assert_eq!((&listed["name"], &listed["bytes"]), (&"source/0".into(), &bytes.len().into()));
    let out = dir.path().join("taken");
    let taken = host.kiln(&bench, &["artifacts", id, "source/0", "-o", out.to_str().unwrap()]);
    assert_eq!(taken.code, 0, "{taken:?}");
    assert_eq!(std::fs::read(out).unwrap(), bytes);
    let none = host.kiln(&bench, &["artifacts", id, "none"]);
    assert!(none.code == 1 && none.err.contains("source/0"), "{none:?}");
}

#[test]
fn an_admin_looks_after_nodes_and_tokens() {
    let Some(mut host) = Host::idle("an_admin_looks_after_nodes") else { return };
    let (admin, submit) = (host.token("root", "admin"), host.token("ci", "submit"));
    host.wake();
    let bench = Bench::plain();
    let ask = |token: &str, args: &[&str]| -> Said {
        host.asked(&bench, args).env("KILN_TOKEN", token).output().unwrap().into()
    };
    for args in [&["nodes"][..], &["tokens"], &["nodes", "drain", "local"]] {
        let denied = ask(&submit, args);
        assert!(denied.code == 1 && denied.err.contains("does not allow"), "{denied:?}");
    }
    assert_eq!(ask(&admin, &["nodes", "--json"]).last()["id"], "local");
    assert_eq!(ask(&admin, &["nodes", "drain", "local", "--json"]).last()["drained"], true);
    assert!(ask(&admin, &["nodes"]).out.contains("drained"));
    let doctor = ask(&admin, &["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("0 of 1 take builds"), "{doctor:?}");
    assert_eq!(ask(&admin, &["nodes", "undrain", "local"]).code, 0);
    assert_eq!(ask(&admin, &["doctor"]).code, 0);
    assert_eq!(ask(&admin, &["nodes", "drain", "none"]).code, 1);
    let made = ask(&admin, &["tokens", "create", "new", "--scope", "read", "--owner", "bob"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(ask(made.out.trim(), &["doctor", "--json"]).code, 0);
    let list = ask(&admin, &["tokens"]);
    assert!(list.out.contains("new\tbob\tread\n") && !list.out.contains(made.out.trim()));
    assert_eq!(ask(&admin, &["tokens", "remove", "new"]).code, 0);
    assert_eq!(ask(made.out.trim(), &["builds"]).code, 1);
}

#[test]
fn what_a_server_cannot_do_is_said_before_anything_is_sent() {
    let Some(host) = Host::start("what_a_server_cannot_do") else { return };
    let bench = Bench::plain();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let secret = "id=a,src=/etc/hostname";
    for (args, code, said) in [
        (&["build", path, "--secret", secret][..], 2, "--secret id=NAME"),
        (&["build", path], 1, "there is no Dockerfile"),
        (&["build", path, "-t", "UPPER"], 2, "UPPER"),
        (&["build", "https://x.test/a.git", "--context-max", "1MB"], 2, "--context-max"),
        (&["prune"], 2, "own rules"),
        (&["resume"], 0, "by itself"),
        (&["show", "abc"], 1, "there is no build `abc`"),
        (&["logs"], 1, "there are no builds yet"),
    ] {
        let run = host.kiln(&bench, args);
        assert!(run.code == code && run.err.contains(said), "{args:?}: {run:?}");
    }
    assert_eq!(host.kiln(&bench, &["builds", "--json"]).out, "");
    for args in [&["retry"][..], &["build", path, "--detach"]] {
        let run = bench.kiln(args);
        assert!(run.code == 2 && run.err.contains("--server"), "{args:?}: {run:?}");
    }
}

#[test]
fn a_token_is_asked_for_kept_and_never_shown() {
    let Some(mut host) = Host::idle("a_token_is_asked_for") else { return };
    let (submit, read) = (host.token("ci", "submit"), host.token("eyes", "read"));
    host.wake();
    let bench = Bench::plain();
    let none = host.kiln(&bench, &["builds"]);
    assert!(none.code == 1 && none.err.contains("kiln login http://127"), "{none:?}");
    let login = |token: &str| {
        let mut command = host.asked(&bench, &["login", "--json"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        end(child)
    };
    let wrong = login("kiln_guess");
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(!wrong.err.contains("guess") && !wrong.out.contains("guess"), "{wrong:?}");
    let kept = login(&format!("{submit}\n"));
    assert_eq!((kept.code, &kept.last()["owner"]), (0, &"ann".into()), "{kept:?}");
    assert!(!kept.out.contains(&submit) && !kept.err.contains(&submit), "{kept:?}");
    let file = bench.home().join(".config/kiln/servers.json");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(host.kiln(&bench, &["builds"]).code, 0);
    // What is named counts more than what is kept.
    let with = |name: &str, value: &str, args: &[&str]| -> Said {
        host.asked(&bench, args).env(name, value).output().unwrap().into()
    };
    let build = ["build", "https://x.test/a.git", "--detach"];
    let denied = with("KILN_TOKEN", &read, &build);
    assert!(denied.code == 1 && denied.err.contains("does not allow"), "{denied:?}");
    let token = bench.home().join("token");
    std::fs::write(&token, "kiln_guess").unwrap();
    let token = token.to_str().unwrap();
    assert_eq!(with("KILN_TOKEN_FILE", token, &["builds"]).code, 1);
    let file = host.kiln(&bench, &["builds", "--token-file", token]);
    assert!(file.code == 1 && !file.err.contains("guess"), "{file:?}");
    assert_eq!(with("KILN_TOKEN", "two words", &["builds"]).code, 2);
    let doctor = with("KILN_TOKEN", "kiln_guess", &["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("kiln login"), "{doctor:?}");
    assert_eq!(host.kiln(&bench, &["doctor"]).code, 0);
    assert_eq!(host.kiln(&bench, &["logout"]).code, 0);
    assert_eq!(host.kiln(&bench, &["builds"]).code, 1);
}

#[test]
fn a_server_that_is_not_there_or_not_private_is_told_at_once() {
    let bench = Bench::plain();
    let ask = |url: &str| bench.kiln(&["builds", "--server", url]);
    let none = ask("http://127.0.0.1:9");
    assert!(none.code == 3 && none.err.contains("cannot be reached"), "{none:?}");
    let socket = bench.home().join("none.sock");
    assert_eq!(ask(&format!("unix://{}", socket.display())).code, 3);
    let open = ask("http://kiln.test:7070");
    assert!(open.code == 1 && open.err.contains("--insecure"), "{open:?}");
    let wrong = ask("kiln.test:7070");
    assert!(wrong.code == 2 && wrong.err.contains("https://kiln.example.com"), "{wrong:?}");
    assert!(!Path::new(&bench.home().join("kiln.db")).exists());
}

/// Answers every request with the same; returns where.
fn fake(status: &'static str, body: impl Into<Vec<u8>>) -> String {
    let body = body.into();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    // It serves until the tests end.
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8192]);
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nlocation: \
                 http://elsewhere.test/\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    url
}

#[test]
fn a_server_of_another_time_and_what_is_no_server_are_told() {
    let bench = Bench::plain();
    let far = fake("200 OK", r#"{"owner":"ann","scopes":["submit"],"version":"9.0.0"}"#);
    let run = bench.kiln(&["build", "https://x.test/a.git", "--server", &far, "--json"]);
    assert!(run.err.contains("the server is of version 9.0.0"), "{run:?}");
    assert_eq!((run.code, &run.last()["kind"]), (2, &"unsupported".into()), "{run:?}");
    let doctor = bench.kiln(&["doctor", "--server", &far]);
    assert!(doctor.out.contains("9.0.0") && doctor.out.contains("up to date"), "{doctor:?}");
    for (status, body, said) in [
        ("200 OK", "hello", "not understood"),
        ("404 Not Found", "", "404"),
        ("302 Found", "", "elsewhere"),
    ] {
        let run = bench.kiln(&["builds", "--server", &fake(status, body)]);
        assert!(run.code == 2 && run.err.contains(said), "{status}: {run:?}");
    }
}
