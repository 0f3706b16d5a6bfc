//! What a step is told, row by row.

use crate::{lines, written};
use kiln_wercker::step::{Kind, Manifest, PropertySpec, StepRef, exports, variable};

fn spec(name: &str, kind: Kind, required: bool, default: Option<&str>) -> PropertySpec {
    PropertySpec { name: name.into(), kind, required, default: default.map(str::to_owned) }
}

/// The variables as `NAME=word`, and then what is wrong.
fn told(id: &str, properties: &[(&str, &str)], declared: Option<Vec<PropertySpec>>) -> Vec<String> {
    let (source, def) = written(id, properties);
    let manifest = declared.map(|properties| Manifest { properties, ..Manifest::default() });
    let step = StepRef::parse(&def.id).unwrap();
    let told = exports(&source, &step, &def, manifest.as_ref());
    let words = told.exports.iter().map(|e| format!("{}={}", e.name, e.value.word()));
    words.chain(lines(&told.diagnostics)).collect()
}

#[test]
fn a_property_is_the_variable_that_the_document_says() {
    assert_eq!(variable("s3sync", "key_id").as_deref(), Some("WERCKER_S3SYNC_KEY_ID"));
    let name = variable("hipchat-notify", "from-name");
    assert_eq!(name.as_deref(), Some("WERCKER_HIPCHAT_NOTIFY_FROM_NAME"));
    for (step, key) in [("a", "b c"), ("a", "b.c"), ("a.b", "c"), ("a", "é"), ("a", "x=y;id")] {
        assert_eq!(variable(step, key), None, "{step} {key}");
    }
    let properties = [
        ("key_id", "$AWS_ACCESS_KEY_ID"),
        ("key_secret", "$AWS_ACCESS_FOO"),
        ("source_dir", "build/"),
    ];
    let expected = [
        "WERCKER_S3SYNC_KEY_ID=\"${AWS_ACCESS_KEY_ID-}\"",
        "WERCKER_S3SYNC_KEY_SECRET=\"${AWS_ACCESS_FOO-}\"",
        "WERCKER_S3SYNC_SOURCE_DIR='build/'",
    ];
    assert_eq!(told("termie/s3sync@1.0", &properties, None), expected);
}

#[test]
fn what_says_how_a_step_runs_is_no_variable_unless_it_is_declared() {
    let properties = [("name", "n"), ("cwd", "c"), ("checkpoint", "p"), ("code", "x"), ("y", "z")];
    assert_eq!(told("a", &properties, None), ["WERCKER_A_Y='z'"]);
    let declared = vec![spec("code", Kind::Text, true, None)];
    let all = told("a", &properties[..4], Some(declared));
    assert_eq!(all, ["WERCKER_A_CODE='x'"]);
}

#[test]
fn defaults_hold_where_nothing_is_told() {
    let declared = vec![
        spec("from_name", Kind::Text, true, Some("wercker")),
        spec("room", Kind::Text, false, Some("$ROOM")),
        spec("on", Kind::Text, false, None),
        spec("notify", Kind::Boolean, false, Some("true")),
    ];
    let expected = [
        "WERCKER_HIPCHAT_NOTIFY_FROM_NAME='me'",
        "WERCKER_HIPCHAT_NOTIFY_ROOM=\"${ROOM-}\"",
        "WERCKER_HIPCHAT_NOTIFY_ON=''",
        "WERCKER_HIPCHAT_NOTIFY_NOTIFY='true'",
    ];
    // `from-name` is `from_name`: both are the same variable.
    assert_eq!(told("hipchat-notify", &[("from-name", "me")], Some(declared)), expected);
}

#[test]
fn what_is_required_has_to_be_told() {
    let declared = || Some(vec![spec("token", Kind::Text, true, None)]);
    let missing = "wercker.yml:1:3: error[missing-property]: step `notify` needs the property \
        `token`; expected: token: with a text";
    assert_eq!(told("notify", &[], declared()), [missing]);
    let empty = "wercker.yml:2:12: error[missing-property]: the property `token` of step `notify` \
        is empty; expected: token: with a text";
    assert_eq!(told("notify", &[("token", "")], declared()), [empty]);
    let open = told("notify", &[("token", "$TOKEN")], declared());
    assert_eq!(open, ["WERCKER_NOTIFY_TOKEN=\"${TOKEN-}\""]);
}

#[test]
fn types_hold_for_what_is_written() {
    let kinds = || {
        let one_of = Kind::Enum(vec!["a".into(), "b".into()]);
        [Kind::Text, Kind::Number, Kind::Integer, Kind::Boolean, one_of]
    };
    let good: [&[&str]; 5] = [
        &["", "x", "1"],
        &["1", "-2.5", "1e3"],
        &["0", "-7", "0123"],
        &["true", "FALSE", "yes", "No", "on", "0"],
        &["a", "b"],
    ];
    let bad: [&[&str]; 5] =
        [&[], &["x", "1,5", "nan"], &["1.5", "x"], &["maybe", "2"], &["c", "A"]];
    for ((kind, good), bad) in kinds().into_iter().zip(good).zip(bad) {
        let declared = || Some(vec![spec("x", kind.clone(), false, None)]);
        for value in good.iter().chain(&["$ANY"]) {
            assert_eq!(told("s", &[("x", value)], declared()).len(), 1, "{kind}: {value}");
        }
        for value in bad {
            let expected = format!(
                "wercker.yml:2:8: error[wrong-type]: the property `x` of step `s` takes {kind}; \
                 expected: {kind}"
            );
            assert_eq!(told("s", &[("x", value)], declared()), [expected], "{kind}: {value}");
        }
    }
}

#[test]
fn what_is_not_declared_is_told_with_a_warning() {
    let declared = || Some(vec![spec("source_dir", Kind::Text, false, None)]);
    let all = told("s3sync", &[("source_dri", "x")], declared());
    let expected = [
        "WERCKER_S3SYNC_SOURCE_DIR=''",
        "WERCKER_S3SYNC_SOURCE_DRI='x'",
        "wercker.yml:2:5: warning[unknown-property]: step `s3sync` does not declare the property \
         `source_dri`; expected: one of `source_dir`. Did you mean `source_dir`?",
    ];
    assert_eq!(all, expected);
    let other = told("s3sync", &[("opts", "x")], declared());
    assert!(other[2].ends_with("The step is given it all the same."), "{other:?}");
    // A manifest that declares nothing says nothing about what there is.
    assert_eq!(told("s3sync", &[("opts", "x")], Some(Vec::new())), ["WERCKER_S3SYNC_OPTS='x'"]);
}

#[test]
fn what_makes_no_variable_is_an_error() {
    let all = told("s", &[("a b", "x"), ("k-1", "y"), ("k_1", "z")], None);
    let expected = [
        "WERCKER_S_K_1='y'",
        "wercker.yml:2:5: error[bad-property-name]: the property `a b` of step `s` makes no \
         variable; expected: letters, digits, `-` and `_`",
        "wercker.yml:4:5: error[same-variable]: `k_1` and `k-1` are both the variable \
         WERCKER_S_K_1. Remove one of them.",
    ];
    assert_eq!(all, expected);
}

#[test]
fn values_that_surprise_are_told_of() {
    let long = "x".repeat(131_072);
    let all = told("s", &[("a", "$(id)"), ("long", &long), ("nul", "a\0b")], None);
    let expected = [
        "WERCKER_S_A='$(id)'",
        "wercker.yml:2:8: warning[not-expanded]: `$(` in a value is taken literally. Only `$NAME` \
         and `${NAME}` expand; write `\\$` for a dollar that is one.",
        "wercker.yml:3:11: error[value-too-long]: WERCKER_S_LONG would be 131087 bytes long, the \
         limit is 131071. No program starts with a longer variable. Put the text into a file.",
        "wercker.yml:4:10: error[nul]: the value of WERCKER_S_NUL has a NUL byte",
    ];
    assert_eq!(all, expected);
}

#[test]
fn a_secret_is_in_no_diagnostic() {
    let (source, def) = written("s", &[("password", "hunter2"), ("my-key", "hunter2\0")]);
    let declared = vec![spec("password", Kind::Number, false, None)];
    let manifest = Manifest { properties: declared, ..Manifest::default() };
    let told = exports(&source, &StepRef::parse("s").unwrap(), &def, Some(&manifest));
    assert_eq!(told.diagnostics.iter().filter(|d| d.is_error()).count(), 2);
    assert!(!format!("{:?}", told.diagnostics).contains("hunter2"), "{:?}", told.diagnostics);
}
