//! Pipelines, places and small grammars.

use kiln_wercker::file::{File, Place, words};

/// Lines for files that are made by chance.
pub(crate) const LINES: &[&str] = &[
    "box: debian",
    "build:",
    "steps:",
    "- script:",
    "code: echo",
    "code: |",
    "- npm-install",
    "after-steps:",
    "services:",
    "- id: redis",
    "env:",
    "A: b",
    "<<: *a",
    "x: &a",
    "workflows:",
    "- name: all",
    "pipelines:",
    "requires: [build]",
    "ports: [80, \"81:82\"]",
    "- [a, {b: c}]",
    "key: 1.5",
    "- ",
    "'",
    "\"",
    "# text",
    "---",
    "",
];

const TEXT: &str = "\
box: ruby # the language
services:
  - redis
deploy:
  steps:
    - first
  production:
    - s3sync:
        key_id: $ÄÖ
        url: \"a b\"
        text: |
          one
          two
test:
  box: node
  services: []
  steps: &steps
    - script: {code: make}
again:
  box: node
  steps: *steps
";

fn file(text: &str) -> File {
    let parsed = File::parse("wercker.yml", text.as_bytes());
    parsed.file.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics))
}

#[test]
fn a_pipeline_has_what_holds_for_it() {
    let file = file(TEXT);
    let deploy = file.pipeline("deploy", None).expect("a pipeline");
    assert_eq!((deploy.box_def.id.as_str(), deploy.services.len()), ("ruby", 1));
    assert_eq!((deploy.steps.len(), deploy.target.is_none()), (1, true));
    let target = file.pipeline("deploy", Some("production")).expect("a pipeline");
    assert_eq!(*target.steps[0].id, "s3sync");
    assert_eq!(target.target.expect("a target").value, "production");
    let other = file.pipeline("deploy", Some("staging")).expect("a pipeline");
    assert_eq!((other.steps[0].id.as_str(), other.target.is_none()), ("first", true));
    let test = file.pipeline("test", None).expect("a pipeline");
    assert_eq!((test.box_def.id.as_str(), test.services.len()), ("node", 0));
    assert_eq!(test.steps, file.pipeline("again", None).expect("a pipeline").steps);
}

#[test]
fn a_pipeline_that_is_not_there() {
    let error = file(TEXT).pipeline("deplox", None).expect_err("no such pipeline");
    assert_eq!(error.code, "no-pipeline");
    assert_eq!(error.expected.as_deref(), Some("one of `deploy`, `test`, `again`"));
    assert_eq!(error.help.as_deref(), Some("Did you mean `deploy`?"));
    let error = file("box: a\n").pipeline("build", None).expect_err("no such pipeline");
    assert_eq!(error.expected.as_deref(), Some("a key `build:` with a list `steps:`"));
}

#[test]
fn values_keep_their_places() {
    let file = file(TEXT);
    let shown = |place: Place| (file.source.slice(place), place.line, place.column);
    assert_eq!(shown(file.box_def.as_ref().expect("a box").id.place), ("ruby", 1, 6));
    let target = file.pipeline("deploy", Some("production")).expect("a pipeline");
    let step = &target.steps[0];
    assert_eq!(shown(step.place()), ("s3sync", 8, 7));
    let place = |key| step.property(key).map(|v| shown(v.place));
    assert_eq!(place("key_id"), Some(("$ÄÖ", 9, 17)));
    assert_eq!(place("url"), Some(("\"a b\"", 10, 14)));
    let (text, line, column) = place("text").expect("a text");
    assert_eq!((text.lines().next(), line, column), (Some("one"), 12, 11));
    // What came by an alias is where it was written.
    let again = file.pipeline("again", None).expect("a pipeline");
    assert_eq!(shown(again.steps[0].place()), ("script", 18, 7));
}

#[test]
fn other_line_ends_and_a_mark_change_no_place() {
    let plain = file(TEXT);
    let text = format!("\u{feff}{}", TEXT.replace('\n', "\r\n"));
    let other = file(&text);
    let place = |file: &File| {
        let pipeline = file.pipeline("test", None).expect("a pipeline");
        let Place { line, column, .. } = pipeline.steps[0].place();
        (line, column, file.source.slice(pipeline.steps[0].place()).to_owned())
    };
    assert_eq!(place(&plain), place(&other));
    let text = "box: Debian\r\nbuild:\r\n  steps: [a]\r\n";
    let error = File::parse("wercker.yml", text.as_bytes()).diagnostics.remove(0);
    assert_eq!(error.source.as_deref(), Some("box: Debian"));
}

#[test]
fn images_with_variables() {
    let file = file("box:\n  id: $HOST/${NAME}x\n  tag: $TAG\nbuild:\n  steps: [a]\n");
    let def = file.box_def.expect("a box");
    assert!(def.has_variables());
    let image = |tag: &str| {
        def.image(&|name| match name {
            "HOST" => Some("localhost:5000".into()),
            "NAME" => Some("app".into()),
            "TAG" => Some(tag.into()),
            _ => None,
        })
    };
    assert_eq!(image("1.0").expect("an image").to_string(), "localhost:5000/appx:1.0");
    assert_eq!(image("").expect("an image").to_string(), "localhost:5000/appx");
    let why = image("a b").expect_err("no tag");
    assert_eq!((why.place.line, why.name.as_str()), (3, "localhost:5000/appx"));
    let why = def.image(&|_| None).expect_err("no image");
    assert_eq!((why.place.line, why.name.as_str()), (2, "/x"));
}

#[test]
fn words_of_a_shell() {
    for (text, expected) in [
        ("", Some(vec![])),
        (" a  b ", Some(vec!["a", "b"])),
        ("sh -c 'a b' \"c d\"e", Some(vec!["sh", "-c", "a b", "c de"])),
        (r#"a\ b "\"\\\n" '\n' """#, Some(vec!["a b", "\"\\\\n", "\\n", ""])),
        ("'a", None),
        ("\"a", None),
        ("a\\", None),
        ("\"a\\", None),
    ] {
        let expected: Option<Vec<String>> =
            expected.map(|words| words.into_iter().map(String::from).collect());
        assert_eq!(words(text), expected, "{text}");
    }
}
