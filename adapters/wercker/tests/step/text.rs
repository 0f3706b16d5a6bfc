//! The shell text of steps, in every shell there is.

use crate::shells::{Ran, Shell, in_every_shell, tree};
use kiln_wercker::step::{
    Export, Paths, Run, StepText, Template, prelude, resume, script, setup, variable,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::fs;

/// Values that have gone wrong somewhere, and one of each character up to the Latin letters.
fn hostile() -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        " ",
        "\n",
        "\n\n",
        "a\n",
        "\na",
        "'",
        "''",
        "it's",
        "\"",
        "\\",
        "\\\\",
        "a\\",
        "`id`",
        "$(id)",
        "${A:-$(id)}",
        "#",
        "a #b",
        "!!",
        "!a",
        "~",
        "*",
        "?",
        "[a]",
        "{a,b}",
        "$'\\n'",
        "-n",
        "-e",
        "--",
        "%s%n",
        "\u{1b}[31m",
        "a\tb",
        "a\rb",
        "\r\n",
        "&& id",
        "; id",
        "| id",
        "> x",
        "$((1+1))",
        "<<EOF",
        "\u{81}\u{88}",
        "é",
        "漢字",
        "🔥",
        "\u{2028}",
        "=",
        "A=b",
        "'; id; '",
        "$IFS",
        "$$",
        "$0",
        "$@",
        "\\$A",
    ]
    .map(str::to_owned)
    .into();
    all.extend((1..=0x17f_u32).filter_map(char::from_u32).map(|c| c.to_string()));
    all
}

/// What a shell has in variables that were given these words.
fn values(shell: &Shell, words: &[String]) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for (n, word) in words.iter().enumerate() {
        text += &format!("export V{n}={word}\nprintf '%s\\0' \"$V{n}\"\n");
    }
    let vars = [("A", "va lue'\"$x`id`\\\n*"), ("HOME", "/root")];
    let ran = shell.session(dir.path(), &vars, &[&text]);
    let mut out = ran.out;
    assert!(out.ends_with(b"[0]\n"), "{}", shell.name());
    out.truncate(out.len() - 4);
    let mut parts: Vec<_> = out.split(|&b| b == 0).map(<[u8]>::to_vec).collect();
    assert_eq!(parts.pop(), Some(Vec::new()));
    parts
}

fn comes_through(shell: &Shell, texts: &[String]) {
    let words: Vec<_> =
        texts.iter().map(|text| Template::parse(&Template::escape(text)).word()).collect();
    let seen = values(shell, &words);
    assert_eq!(seen.len(), texts.len(), "{}", shell.name());
    for (text, seen) in texts.iter().zip(seen) {
        let shown = String::from_utf8_lossy(&seen);
        assert_eq!(text.as_bytes(), seen, "{}: {text:?} came as {shown:?}", shell.name());
    }
}

#[test]
fn every_character_comes_through() {
    in_every_shell("every_character_comes_through", |shell| {
        comes_through(shell, &hostile());
        comes_through(shell, &["x'$`\\\"\n".repeat(150_000)]);
    });
}

#[test]
fn any_text_comes_through() {
    in_every_shell("any_text_comes_through", |shell| {
        let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
        let texts = prop::collection::vec("[^\0]{0,40}|[$\\\\{}'\"`\n#A ]{0,30}", 1..60);
        let result = runner.run(&texts, |texts| {
            comes_through(shell, &texts);
            Ok(())
        });
        result.unwrap();
    });
}

#[test]
fn variables_expand_to_just_what_they_hold() {
    in_every_shell("variables_expand_to_just_what_they_hold", |shell| {
        let a = "va lue'\"$x`id`\\\n*";
        let rows = [
            ("$A", a.to_owned()),
            ("${A}", a.to_owned()),
            ("<$A> $NONE'", format!("<{a}> '")),
            ("\\$A", "$A".to_owned()),
            ("\\\\$A", format!("\\{a}")),
            ("$HOME/x", "/root/x".to_owned()),
            ("~/$1$#", "~/$1$#".to_owned()),
        ];
        let words: Vec<_> = rows.iter().map(|(text, _)| Template::parse(text).word()).collect();
        for ((text, value), seen) in rows.iter().zip(values(shell, &words)) {
            assert_eq!(String::from_utf8_lossy(&seen), *value, "{}: {text}", shell.name());
        }
    });
}

/// A step for tests: its name, its `run.sh`, its `init.sh`, its properties and its `cwd`.
#[derive(Clone, Copy, Default)]
struct Step<'a> {
    name: &'a str,
    run: &'a str,
    init: Option<&'a str>,
    told: &'a [(&'a str, &'a str)],
    cwd: &'a str,
}

/// Runs a pipeline of steps in a shell, with a source that has files and links.
fn pipeline(shell: &Shell, steps: &[Step<'_>]) -> (Ran, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let paths = Paths {
        pipeline: at("pipe line"),
        mounted_source: at("mnt/source"),
        mounted_steps: at("mnt/steps"),
        report: at("report"),
        source_dir: String::new(),
    };
    tree(&dir.path().join("mnt"), &[("source/app/file", "in app\n"), ("steps/", "")]);
    tree(dir.path(), &[("pipe line/source/stale", "")]);
    std::os::unix::fs::symlink("app/file", dir.path().join("mnt/source/link")).unwrap();
    let mut ids = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        ids.push(format!("{}-{n}", step.name));
        let files = dir.path().join("mnt/steps").join(&ids[n]);
        tree(&files, &[("run.sh", step.run)]);
        if let Some(init) = step.init {
            tree(&files, &[("init.sh", init)]);
        }
    }
    let mut texts = vec![setup(&paths, &ids)];
    for (step, id) in steps.iter().zip(&ids) {
        let export = |(key, value): &(&str, &str)| Export {
            name: variable(step.name, key).unwrap(),
            value: Template::parse(value),
        };
        let exports: Vec<_> = step.told.iter().map(export).collect();
        let cwd = Template::parse(step.cwd);
        let text = StepText {
            paths: &paths,
            safe_id: id,
            owner: "wercker",
            name: step.name,
            exports: &exports,
            cwd: Some(&cwd),
            init: step.init.is_some(),
            run: Run::of(step.run.as_bytes()),
        };
        texts.push(text.text());
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    (shell.session(dir.path(), &[("A", "a  b")], &texts), dir)
}

#[test]
fn steps_share_a_shell_and_begin_in_the_source() {
    in_every_shell("steps_share_a_shell_and_begin_in_the_source", |shell| {
        let told = [("key_id", "$A"), ("from-name", "it's #1")];
        let first = "printf '%s\\n' \"$WERCKER_FIRST_KEY_ID\" \"$WERCKER_FIRST_FROM_NAME\"\n\
            export B=kept; f() { echo f of first; }\ncd /\n";
        let second = script("echo $B; f; cat; basename \"$PWD\"; cat file\nls ..");
        let steps = [
            Step { name: "first", run: first, told: &told, ..Step::default() },
            Step { name: "script", run: &second, cwd: "app", ..Step::default() },
        ];
        let (ran, dir) = pipeline(shell, &steps);
        let expected = "[0]\na  b\nit's #1\n[0]\nkept\nf of first\napp\nin app\napp\nlink\n[0]\n";
        assert_eq!(ran.text(), expected, "{}", shell.name());
        let link = dir.path().join("pipe line/source/link");
        assert!(fs::symlink_metadata(link).unwrap().is_symlink());
    });
}

#[test]
fn a_step_knows_where_it_is_and_where_to_report() {
    in_every_shell("a_step_knows_where_it_is_and_where_to_report", |shell| {
        let run = "echo $WERCKER_STEP_ID $WERCKER_STEP_OWNER $WERCKER_STEP_NAME\n\
            cmp \"$WERCKER_STEP_ROOT/run.sh\" \"$WERCKER_STEP_ROOT/run.sh\" && echo there\n\
            setMessage 'a \"b\" $c'\necho n=1 > \"$WERCKER_REPORT_NUMBERS_FILE\"\n\
            echo x > \"$WERCKER_REPORT_ARTIFACTS_DIR/x\"\n";
        let (ran, dir) = pipeline(shell, &[Step { name: "s3sync", run, ..Step::default() }]);
        assert_eq!(ran.text(), "[0]\ns3sync-0 wercker s3sync\nthere\n[0]\n", "{}", shell.name());
        let report = |name: &str| fs::read_to_string(dir.path().join("report/s3sync-0").join(name));
        assert_eq!(report("message.txt").unwrap(), "a \"b\" $c\n");
        assert_eq!(report("numbers.ini").unwrap(), "n=1\n");
        assert_eq!(report("artifacts/x").unwrap(), "x\n");
    });
}

#[test]
fn the_status_of_a_step_is_its_own() {
    in_every_shell("the_status_of_a_step_is_its_own", |shell| {
        let go_on = Step { name: "a", run: "false\necho on\nsh -c 'exit 3'\n", ..Step::default() };
        let returns = Step { name: "b", run: "return 4\n", ..Step::default() };
        let stopped = script("echo x\nfalse\necho never");
        let last = Step { name: "script", run: &stopped, ..Step::default() };
        let never = Step { name: "z", run: "echo never\n", ..Step::default() };
        let (ran, _dir) = pipeline(shell, &[go_on, returns, last, never]);
        assert_eq!(
            (ran.text().as_str(), ran.code),
            ("[0]\non\n[3]\n[4]\nx\n", 1),
            "{}",
            shell.name()
        );
    });
}

#[test]
fn an_init_comes_first_and_may_refuse() {
    in_every_shell("an_init_comes_first_and_may_refuse", |shell| {
        let step = |init, name| Step { name, run: "echo run $I\n", init, ..Step::default() };
        let (ran, _dir) =
            pipeline(shell, &[step(Some("I=1\n"), "a"), step(Some("return 7\n"), "b")]);
        assert_eq!(ran.text(), "[0]\nrun 1\n[0]\n[7]\n", "{}", shell.name());
    });
}

#[test]
fn a_step_in_no_directory_fails_and_does_not_run() {
    in_every_shell("a_step_in_no_directory_fails_and_does_not_run", |shell| {
        for cwd in ["none", "-", "$NONE/x y"] {
            let step = Step { name: "a", run: "echo ran\n", cwd, ..Step::default() };
            let (ran, _dir) = pipeline(shell, &[step]);
            assert_eq!(ran.text(), "[0]\n[1]\n", "{}: {cwd}", shell.name());
        }
    });
}

#[test]
fn what_is_no_shell_script_is_run_as_it_says() {
    in_every_shell("what_is_no_shell_script_is_run_as_it_says", |shell| {
        let code = script("#!/usr/bin/env cat\nnot shell (\n");
        let (ran, _dir) =
            pipeline(shell, &[Step { name: "script", run: &code, ..Step::default() }]);
        let expected = "[0]\n#!/usr/bin/env cat\nnot shell (\n[0]\n";
        assert_eq!(ran.text(), expected, "{}", shell.name());
    });
}

#[test]
fn what_one_step_sets_harms_no_other() {
    in_every_shell("what_one_step_sets_harms_no_other", |shell| {
        let odd = Step { name: "a", run: "set -euf\nIFS=/\nCDPATH=/\n", ..Step::default() };
        let told = [("x", "$NONE/y")];
        let run = "echo \"$WERCKER_B_X\" \"${PWD##*/}\"\n";
        let next = Step { name: "b", run, told: &told, cwd: "app", ..Step::default() };
        let (ran, _dir) = pipeline(shell, &[odd, next]);
        assert_eq!(ran.text(), "[0]\n[0]\n/y app\n[0]\n", "{}", shell.name());
    });
}

#[test]
fn helpers_tell_and_fail_leaves_its_message() {
    in_every_shell("helpers_tell_and_fail_leaves_its_message", |shell| {
        let run = "success a; info 'b\\nc'; debug d; warn e; warning f; error g; setMessage old\n\
            fail 'because of $x'\necho never\n";
        let (ran, dir) = pipeline(shell, &[Step { name: "s", run, ..Step::default() }]);
        let expected = "[0]\na\nb\nc\nd\ne\nf\nerror: g\nfailed: because of $x\n";
        assert_eq!((ran.text().as_str(), ran.code), (expected, 1), "{}", shell.name());
        let message = dir.path().join("report/s-0/message.txt");
        assert_eq!(fs::read_to_string(message).unwrap(), "because of $x\n");
    });
}

#[test]
fn sudo_runs_its_arguments_where_there_is_none() {
    in_every_shell("sudo_runs_its_arguments_where_there_is_none", |shell| {
        let dir = tempfile::tempdir().unwrap();
        // Only what is in this directory is found, so there is no sudo.
        for program in ["cat", "env", "id", "printf"] {
            let find = std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .map(|p| p.join(program))
                .find(|p| p.exists());
            std::os::unix::fs::symlink(find.unwrap(), dir.path().join(program)).unwrap();
        }
        let text = "PATH=.\nf() { printf '<%s>' \"$@\"; echo; }\n";
        let calls = "sudo f 'a b' c\nsudo -E -H -- f d\nsudo -u root f e\nsudo A=1 printf '%s\\n' x\n\
            sudo -u somebody f no || echo refused\nsudo\n";
        let text = format!("{text}{}{calls}", prelude());
        let ran = shell.session(dir.path(), &[], &[&text]);
        let expected = "<a b><c>\n<d>\n<e>\nx\nrefused\n[0]\n";
        assert_eq!(ran.text(), expected, "{}", shell.name());
    });
}

#[test]
fn a_later_session_has_the_helpers_and_copies_nothing() {
    in_every_shell("a_later_session_has_the_helpers_and_copies_nothing", |shell| {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path(), &[("source/made", "")]);
        let pipeline = dir.path().display().to_string();
        let paths = Paths { pipeline, ..Paths::default() };
        let ran = shell.session(dir.path(), &[], &[&resume(&paths), "info $(ls)"]);
        assert_eq!(ran.text(), "[0]\nmade\n[0]\n", "{}", shell.name());
    });
}
