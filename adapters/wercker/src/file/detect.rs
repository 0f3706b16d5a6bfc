//! A `wercker.yml` for a project that has none.

/// A kind of project.
struct Kind {
    name: &'static str,
    /// Any of these files tells it.
    files: &'static [&'static str],
    image: &'static str,
    /// Names of scripts, the file that asks for one (`""`: always), and their code.
    scripts: &'static [(&'static str, &'static str, &'static str)],
}

/// The kinds of projects that are known, in the order in which they are looked for. The last one is
/// everything else.
pub const DETECTED: [&str; 9] =
    ["ruby", "node", "go", "python", "maven", "gradle", "rust", "php", "generic"];

const KINDS: [Kind; 8] = [
    Kind {
        name: "ruby",
        files: &["Gemfile"],
        image: "ruby:3.4",
        scripts: &[
            (
                "install gems",
                "",
                "bundle config set path \"$WERCKER_CACHE_DIR/bundle\"\nbundle install --jobs 4",
            ),
            ("test", "Rakefile", "bundle exec rake"),
            ("test", ".rspec", "bundle exec rspec"),
        ],
    },
    Kind {
        name: "node",
        files: &["package.json"],
        image: "node:22",
        scripts: &[
            (
                "install packages",
                "yarn.lock",
                "yarn config set cache-folder \"$WERCKER_CACHE_DIR/yarn\"\nyarn install --frozen-lockfile",
            ),
            ("install packages", "package-lock.json", "npm ci --cache \"$WERCKER_CACHE_DIR/npm\""),
            (
                "install packages",
                "!yarn.lock package-lock.json",
                "npm install --cache \"$WERCKER_CACHE_DIR/npm\"",
            ),
            ("test", "", "npm test"),
        ],
    },
    Kind {
        name: "go",
        files: &["go.mod", "main.go", "Gopkg.toml", "glide.yaml", "Godeps/Godeps.json"],
        image: "golang:1.25",
        scripts: &[
            (
                "build",
                "",
                "export GOMODCACHE=\"$WERCKER_CACHE_DIR/go-mod\" GOCACHE=\"$WERCKER_CACHE_DIR/go-build\"\ngo build ./...",
            ),
            ("test", "", "go test ./..."),
        ],
    },
    Kind {
        name: "python",
        files: &["requirements.txt", "setup.py", "pyproject.toml", "Pipfile"],
        image: "python:3.13",
        scripts: &[
            (
                "make an environment",
                "",
                "export PIP_CACHE_DIR=\"$WERCKER_CACHE_DIR/pip\"\npython -m venv /tmp/env\n. /tmp/env/bin/activate",
            ),
            ("install packages", "requirements.txt", "pip install -r requirements.txt"),
            ("install packages", "Pipfile", "pip install pipenv\npipenv install --dev --system"),
            ("install the project", "setup.py", "pip install -e ."),
            ("install the project", "pyproject.toml", "pip install -e ."),
            ("test", "", "pip install pytest\npython -m pytest"),
        ],
    },
    Kind {
        name: "maven",
        files: &["pom.xml"],
        image: "maven:3-eclipse-temurin-21",
        scripts: &[
            (
                "build and test",
                "",
                "mvn --batch-mode -Dmaven.repo.local=\"$WERCKER_CACHE_DIR/maven\" verify",
            ),
            ("keep what was built", "", "cp target/*.?ar \"$WERCKER_OUTPUT_DIR/\""),
        ],
    },
    Kind {
        name: "gradle",
        files: &["build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts"],
        image: "gradle:8-jdk21",
        scripts: &[
            (
                "build and test",
                "gradlew",
                "export GRADLE_USER_HOME=\"$WERCKER_CACHE_DIR/gradle\"\n./gradlew --no-daemon build",
            ),
            (
                "build and test",
                "!gradlew",
                "export GRADLE_USER_HOME=\"$WERCKER_CACHE_DIR/gradle\"\ngradle --no-daemon build",
            ),
        ],
    },
    Kind {
        name: "rust",
        files: &["Cargo.toml"],
        image: "rust:1",
        scripts: &[
            (
                "build",
                "",
                "export CARGO_HOME=\"$WERCKER_CACHE_DIR/cargo\" CARGO_TARGET_DIR=\"$WERCKER_CACHE_DIR/target\"\ncargo build",
            ),
            ("test", "", "cargo test"),
        ],
    },
    Kind {
        name: "php",
        files: &["composer.json"],
        image: "composer:2",
        scripts: &[
            (
                "install packages",
                "",
                "export COMPOSER_CACHE_DIR=\"$WERCKER_CACHE_DIR/composer\"\ncomposer install --no-interaction",
            ),
            ("test", "phpunit.xml", "vendor/bin/phpunit"),
            ("test", "phpunit.xml.dist", "vendor/bin/phpunit"),
        ],
    },
];

const GENERIC: Kind = Kind {
    name: "generic",
    files: &[],
    image: "debian:stable-slim",
    scripts: &[
        (
            "build",
            "Makefile",
            "apt-get update\napt-get install --yes --no-install-recommends build-essential\nmake",
        ),
        ("build", "!Makefile", "echo \"Write here what builds and tests this project.\""),
    ],
};

/// A sensible `wercker.yml` for a project, by the files it has: `has` is asked for paths from the
/// project's directory on.
///
/// What it writes is read by [`File::parse`](super::File::parse) without a diagnostic.
pub fn detect(has: impl Fn(&str) -> bool) -> String {
    let found = KINDS.iter().find(|kind| kind.files.iter().any(|file| has(file)));
    let kind = found.unwrap_or(&GENERIC);
    let mut text = format!(
        "# Made for a project of the kind `{}`: change whatever does not fit.\nbox: {}\n\nbuild:\n  steps:\n",
        kind.name, kind.image,
    );
    let mut done: Vec<&str> = Vec::new();
    for (name, asks, code) in kind.scripts {
        let wanted = match asks.strip_prefix('!') {
            Some(none) => none.split(' ').all(|file| !has(file)),
            None => asks.is_empty() || has(asks),
        };
        // Of several ways to do one thing, the first.
        if !wanted || done.contains(name) {
            continue;
        }
        done.push(name);
        text.push_str(&format!("    - script:\n        name: {name}\n        code: |\n"));
        for line in code.lines() {
            text.push_str(&format!("          {line}\n"));
        }
    }
    text
}
