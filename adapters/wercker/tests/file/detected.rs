//! What is written for a project that has no file.

use kiln_wercker::file::{DETECTED, File, detect};

/// Files of a project, the kind that is detected, and a part of what is written for it.
const PROJECTS: &[(&[&str], &str, &str)] = &[
    (&["Gemfile", "Rakefile"], "ruby", "bundle exec rake\n"),
    (&["Gemfile", ".rspec"], "ruby", "bundle exec rspec"),
    (&["package.json"], "node", "npm install"),
    (&["package.json", "package-lock.json"], "node", "npm ci"),
    (&["package.json", "yarn.lock"], "node", "yarn install"),
    (&["go.mod"], "go", "go test ./..."),
    (&["main.go"], "go", "go build ./..."),
    (&["requirements.txt"], "python", "pip install -r requirements.txt"),
    (&["pyproject.toml"], "python", "pip install -e ."),
    (&["pom.xml"], "maven", "mvn"),
    (&["build.gradle", "gradlew"], "gradle", "./gradlew"),
    (&["build.gradle.kts"], "gradle", "gradle --no-daemon"),
    (&["Cargo.toml"], "rust", "cargo test"),
    (&["composer.json", "phpunit.xml"], "php", "vendor/bin/phpunit"),
    (&["Makefile"], "generic", "make"),
    (&[], "generic", "echo"),
];

#[test]
fn every_kind_gives_a_file_without_a_diagnostic() {
    for (files, kind, part) in PROJECTS {
        let text = detect(|file| files.contains(&file));
        assert!(text.contains(&format!("kind `{kind}`")), "{files:?}: {text}");
        assert!(text.contains(part), "{files:?}: no {part} in {text}");
        let parsed = File::parse("wercker.yml", text.as_bytes());
        assert!(parsed.diagnostics.is_empty(), "{files:?}: {:?}", parsed.diagnostics);
        let pipeline = parsed.file.expect("a file").pipeline("build", None).expect("a pipeline");
        assert!(!pipeline.steps.is_empty(), "{text}");
    }
    for kind in DETECTED {
        assert!(PROJECTS.iter().any(|(_, name, _)| *name == kind), "{kind} is not tried");
    }
}

#[test]
fn a_thing_is_done_once() {
    let text = detect(|file| ["package.json", "yarn.lock", "package-lock.json"].contains(&file));
    assert_eq!(text.matches("install packages").count(), 1, "{text}");
}
