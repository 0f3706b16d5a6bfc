//! How diagnostics are shown.

use kiln_wercker::file::{Diagnostic, File, render};

fn first(text: &str) -> Diagnostic {
    File::parse("wercker.yml", text.as_bytes()).diagnostics.remove(0)
}

#[test]
fn without_colours_nothing_is_coloured() {
    let diagnostic = first("box: Debian\nbuild:\n  steps: [a]\n");
    assert!(!render(&diagnostic, false).contains('\x1b'));
    let coloured = render(&diagnostic, true);
    assert!(coloured.starts_with("\x1b[1;31merror[image-name]\x1b[0m: "), "{coloured:?}");
    let mut plain = coloured;
    for colour in ["1;31", "1;33", "34", "32", "1", "0"] {
        plain = plain.replace(&format!("\x1b[{colour}m"), "");
    }
    assert_eq!(plain, render(&diagnostic, false));
}

#[test]
fn one_line_says_all() {
    let diagnostic = first("box: debian\nbuild:\n  steps:\n    - script\n");
    let expected = "wercker.yml:4:7: error[script-without-code]: a script has no `code`; \
                    expected: `code:` with the commands, below `- script:`";
    assert_eq!(diagnostic.to_string(), expected);
}

#[test]
fn json_has_every_part() {
    let text = "box: debian\nbuild:\n  steps:\n    - script\n        code: a\n";
    let expected = serde_json::json!({
        "severity": "error",
        "code": "missing-colon",
        "message": "there is no colon behind `script`, and keys below it",
        "file": "wercker.yml",
        "line": 4,
        "column": 7,
        "length": 6,
        "text": "script",
        "expected": "a colon behind what has something below it",
        "mended": "    - script:",
        "source": "    - script",
    });
    assert_eq!(serde_json::to_value(first(text)).expect("JSON"), expected);
}

#[test]
fn the_mark_is_below_what_it_is_about() {
    let wide = "x".repeat(300);
    for text in [
        "box: Debian\nbuild:\n  steps: [a]\n".to_owned(),
        format!("box: debian\nbuild:\n  steps: [a, {{script: {{x: {wide}, code: [a]}}}}]\n"),
        format!("box: debian\nbuild:\n  steps: [a, {{script: {{\"ä{wide}\": 1.5, code: a}}}}]\n"),
    ] {
        let diagnostic = first(&text);
        let shown = render(&diagnostic, false);
        let lines: Vec<&str> = shown.lines().collect();
        let mark = lines.iter().position(|l| l.contains('^')).expect("a mark");
        let at = lines[mark].chars().position(|c| c == '^').expect("a mark");
        let length = lines[mark].matches('^').count();
        let marked: String = lines[mark - 1].chars().skip(at).take(length).collect();
        assert!(length > 2 && diagnostic.text.starts_with(&marked), "{shown}");
    }
}

#[test]
fn secrets_are_not_shown() {
    for text in [
        "box:\n  id: debian\n  password: hunter2\nbuild:\n  steps: [a]\n",
        "box: {id: debian, password: [hunter2]}\nbuild:\n  steps: [a]\n",
        "box:\n  id: debian\n  password: 'hunter2' x\nbuild:\n  steps: [a]\n",
        "box:\n  id: debian\n  aws-secret-key: hunter2\nbuild:\n  steps: [a]\n",
        "box: a\nbuild:\n  steps:\n    - s3sync:\n        api_token: hunter2: x\n",
        "box: a\nbuild:\n  steps:\n    - s3sync:\n        key_secret: [hunter2]\n",
        "box: a\nbuild:\n  steps:\n    - s3sync:\n        key_secret: hunter2: 1.5\n",
        "box: a\nbuild:\n  steps:\n    - s3sync:\n        key_secret: `hunter2\n",
        "box: a\nbuild:\n  steps:\n    - s3sync:\n        key_secret: *hunter2\n",
        "box: a\nbuild:\n  steps:\n    - s3sync:\n        key_secret: !hunter2 x\n",
        "box: a\nbuild:\n  steps:\n    - x \"https://me:hunter2@host/x y.tgz\"\n",
        "box: https://me:hunter2@host/image\nbuild:\n  steps: [a]\n",
    ] {
        let parsed = File::parse("wercker.yml", text.as_bytes());
        assert!(!parsed.diagnostics.is_empty(), "{text}");
        for diagnostic in &parsed.diagnostics {
            let json = serde_json::to_string(diagnostic).expect("JSON");
            assert!(!json.contains("hunter2"), "{json}");
        }
        assert!(!format!("{:?}", parsed.file.map(|f| f.box_def)).contains("hunter2"), "{text}");
    }
}

#[test]
fn a_number_that_may_be_secret_is_not_shown() {
    let text = "box: a\nbuild:\n  steps:\n    - s3sync: {key_secret: 1.25}\n";
    let diagnostic = first(text);
    let json = serde_json::to_string(&diagnostic).expect("JSON");
    assert!(diagnostic.code == "float" && !json.contains("1.25"), "{json}");
}

#[test]
fn too_many_are_counted() {
    let text = format!("box: debian\nbuild:\n  steps:\n{}", "    - a: {b: [c]}\n".repeat(900));
    let parsed = File::parse("wercker.yml", text.as_bytes());
    assert_eq!(parsed.diagnostics.len(), 101);
    let last = parsed.diagnostics.last().expect("the last");
    assert_eq!((last.code.as_ref(), last.message.as_str()), ("more", "800 more are not shown"));
}
