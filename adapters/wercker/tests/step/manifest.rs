//! Manifests of both ages.

use crate::lines;
use kiln_wercker::step::{Kind, MANIFEST_MAX, Manifest, PropertySpec};
use proptest::prelude::*;

fn good(text: &str) -> Manifest {
    let read = Manifest::parse("step.yml", text.as_bytes());
    assert_eq!(lines(&read.diagnostics), Vec::<String>::new(), "{text}");
    read.manifest.unwrap()
}

fn told(text: &str) -> (bool, Vec<String>) {
    let read = Manifest::parse("step.yml", text.as_bytes());
    (read.manifest.is_some(), lines(&read.diagnostics))
}

fn spec(name: &str, kind: Kind, required: bool, default: Option<&str>) -> PropertySpec {
    PropertySpec { name: name.into(), kind, required, default: default.map(str::to_owned) }
}

#[test]
fn both_ages_say_the_same() {
    let old = "\
name: s3sync
version: 2.2.1
description: Syncs a directory
keywords:
  - s3
  - aws
properties:
  key_id:
    type: string
    required: true
  source_dir:
    type: string
    required: false
    default: $WERCKER_OUTPUT_DIR
  delete:
    type: boolean
    default: no
  plain:
";
    let new = "\
name: s3sync
version: 2.2.1
summary: Syncs a directory
tags: [s3, aws]
properties:
- name: key_id
  type: string
  required: true
- name: source_dir
  type: string
  required: false
  default: $WERCKER_OUTPUT_DIR
- name: delete
  type: boolean
  default: no
- name: plain
";
    let expected = Manifest {
        name: Some("s3sync".into()),
        version: Some("2.2.1".into()),
        summary: Some("Syncs a directory".into()),
        tags: vec!["s3".into(), "aws".into()],
        properties: vec![
            spec("key_id", Kind::Text, true, None),
            spec("source_dir", Kind::Text, false, Some("$WERCKER_OUTPUT_DIR")),
            spec("delete", Kind::Boolean, false, Some("no")),
            spec("plain", Kind::Text, false, None),
        ],
    };
    assert_eq!(good(old), expected);
    assert_eq!(good(new), expected);
}

#[test]
fn every_type_has_its_names() {
    let one_of = || Kind::Enum(vec!["a".into(), "b".into()]);
    for (written, kind) in [
        ("type: string", Kind::Text),
        ("type: text", Kind::Text),
        ("required: yes", Kind::Text),
        ("type: number", Kind::Number),
        ("type: Float", Kind::Number),
        ("type: integer", Kind::Integer),
        ("type: int", Kind::Integer),
        ("type: boolean", Kind::Boolean),
        ("type: bool", Kind::Boolean),
        ("type: enum, values: [a, b]", one_of()),
        ("type: enum, options: [a, b]", one_of()),
        ("enum: [a, b]", one_of()),
    ] {
        let manifest = good(&format!("properties: {{ x: {{ {written} }} }}"));
        assert_eq!(manifest.property("x").unwrap().kind, kind, "{written}");
    }
}

#[test]
fn little_is_enough() {
    for text in ["", "# nothing\n", "{}", "name:\n", "properties:\n", "other: [1, {a: b}]\n"] {
        assert_eq!(good(text), Manifest::default(), "{text}");
    }
}

#[test]
fn what_is_odd_is_a_warning() {
    let (there, found) = told("properties:\n  x:\n    type: colour\n  y: {type: enum}\n");
    assert!(there);
    let expected = [
        "step.yml:3:11: warning[unknown-type]: `colour` is no type of a property, any text is \
         taken; expected: `string`, `number`, `integer`, `boolean` or `enum`",
        "step.yml:4:13: warning[unknown-type]: the type `enum` has no values; expected: \
         `values: [a, b]` beside it",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_wrong_is_an_error_with_its_place() {
    for (text, expected) in [
        ("- a\n", "step.yml:1:1: error[wrong-type]: the manifest is a list"),
        ("just a text", "step.yml:1:1: error[wrong-type]: the manifest is a text"),
        ("name: [a]\n", "step.yml:1:7: error[wrong-type]: `name` is a list"),
        ("properties: x\n", "step.yml:1:13: error[wrong-type]: `properties` is a text"),
        ("properties:\n- x\n", "step.yml:2:3: error[wrong-type]: a property is a text"),
        ("properties:\n- type: string\n", "step.yml:2:3: error[no-name]"),
        ("properties:\n- name: x\n- name: x\n", "step.yml:3:3: error[duplicate-key]"),
        ("properties: {x: {required: maybe}}\n", "step.yml:1:28: error[wrong-type]: `required`"),
        ("properties: {x: {default: [1]}}\n", "step.yml:1:27: error[wrong-type]: `default`"),
        ("properties: {x: {type: int, default: y}}\n", "error[wrong-type]: the default of `x`"),
    ] {
        let (there, found) = told(text);
        assert!(!there, "{text}");
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(expected), "{text}: {found:?}");
    }
    let long = "x".repeat(MANIFEST_MAX + 1);
    let (there, found) = told(&long);
    assert!(!there && found[0].contains("too-large"), "{found:?}");
    assert!(!told("a: 'x").0);
    assert!(!told("a: \"\\0\"\n").0);
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let read = Manifest::parse("step.yml", &text);
        prop_assert!(read.manifest.is_some() || !read.diagnostics.is_empty());
    }

    #[test]
    fn any_lines_give_an_answer(
        lines in prop::collection::vec("(  ){0,3}(- )?(name|properties|type|x|default|values)?(: )?[a-z\\[{&*'\"]?", 0..12),
    ) {
        let read = Manifest::parse("step.yml", lines.join("\n").as_bytes());
        prop_assert!(read.manifest.is_some() || !read.diagnostics.is_empty());
    }
}
