//! How fast output is redacted: log text through one stream on one core, against 10 and against
//! 1,000 secrets, each in all its forms.

use kiln::{Secret, redact::Redactor};
use std::{
    fmt::Write as _,
    hint::black_box,
    io::{self, Write as _},
    time::{Duration, Instant},
};

/// How much text a pass redacts.
const TEXT_BYTES: usize = 32 << 20;
/// How much a step's output is read at a time.
const PIECE_BYTES: usize = 32 << 10;
/// How long each figure is measured at least.
const MEASURE: Duration = Duration::from_millis(1500);

/// A small generator (xorshift64*) so that every run sees the same text.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }
}

/// What builds print: compilers, package managers, tests, transfers, hashes, paths.
fn log_text(numbers: &mut Numbers) -> String {
    let words = [
        "Compiling",
        "Downloading",
        "registry",
        "password",
        "token",
        "layer",
        "already exists",
        "Setting up",
        "Unpacking",
        "warning:",
        "unused variable",
        "npm notice",
        "test result: ok.",
        "Step",
        "---> Running in",
        "Removing intermediate container",
        "Get:",
        "http://deb.debian.org",
        "go: downloading github.com",
        "error",
        "ghp_",
        "Authorization: Bearer",
        "user=",
        "secret",
    ];
    let mut text = String::with_capacity(TEXT_BYTES + 200);
    while text.len() < TEXT_BYTES {
        let _ = write!(text, "2026-11-20T10:{:02}:{:02}Z ", numbers.below(60), numbers.below(60));
        for _ in 0..numbers.below(6) + 2 {
            let _ = match numbers.below(6) {
                0 => write!(text, "{:016x} ", numbers.next()),
                1 => write!(text, "/usr/lib/x86_64-linux-gnu/lib{}.so ", numbers.below(900)),
                2 => write!(text, "{}.{} MB/s ", numbers.below(90), numbers.below(9)),
                _ => write!(text, "{} ", words[numbers.below(words.len())]),
            };
        }
        text.push('\n');
    }
    text
}

/// Tokens, passwords and keys, as people have them.
fn secrets(count: usize, numbers: &mut Numbers) -> Vec<String> {
    let word = |numbers: &mut Numbers, length: usize, alphabet: &[u8]| -> String {
        (0..length).map(|_| char::from(alphabet[numbers.below(alphabet.len())])).collect()
    };
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let marks = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789!$%&/=?+#@ ";
    let secret = |i: usize| match i % 10 {
        0 => format!("ghp_{}", word(numbers, 36, letters)),
        1 => format!("AKIA{}", word(numbers, 16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
        2 => format!("correct-horse-{}", word(numbers, 6, letters)),
        3 => {
            let lines: Vec<_> = (0..25).map(|_| word(numbers, 64, letters)).collect();
            let lines = lines.join("\n");
            format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n")
        }
        4 => format!(r#"{{"username":"ci","password":"{}"}}"#, word(numbers, 20, marks)),
        5 => word(numbers, 8, marks),
        _ => word(numbers, 12 + i % 20, marks),
    };
    (0..count).map(secret).collect()
}

/// Gigabytes per second of a stream that gets the text piece by piece.
fn throughput(redactor: &Redactor, text: &[u8]) -> f64 {
    let (mut bytes, start) = (0, Instant::now());
    while start.elapsed() < MEASURE {
        let mut stream = redactor.stream();
        for piece in text.chunks(PIECE_BYTES) {
            black_box(stream.push(black_box(piece)));
        }
        black_box(stream.finish());
        bytes += text.len();
    }
    bytes as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// The text with a secret in every 50th line.
fn with_secrets(text: &str, secrets: &[String]) -> String {
    let mut all = String::with_capacity(text.len() + text.len() / 10);
    for (i, line) in text.lines().enumerate() {
        all.push_str(line);
        if i % 50 == 0 {
            all.push_str(&secrets[i / 50 % secrets.len()]);
        }
        all.push('\n');
    }
    all
}

fn main() -> io::Result<()> {
    let numbers = &mut Numbers(0x9E37_79B9_7F4A_7C15);
    let text = log_text(numbers);
    let mut out = io::stdout().lock();
    for (name, count, limit) in
        [("redact_throughput", 10, 1.0), ("redact_throughput_1000_secrets", 1000, 0.5)]
    {
        let secrets = secrets(count, numbers);
        let redactor = Redactor::new();
        let start = Instant::now();
        assert!(secrets.iter().all(|s| redactor.add(&Secret::new(s.as_bytes()))));
        black_box(redactor.redact_text("ready"));
        writeln!(out, "{count} secrets: {redactor:?} ready in {:?}", start.elapsed())?;
        let noisy = with_secrets(&text, &secrets);
        writeln!(
            out,
            "{count} secrets, one in every 50th line: {:.2} GB/s",
            throughput(&redactor, noisy.as_bytes())
        )?;
        let measured = throughput(&redactor, text.as_bytes());
        writeln!(out, "promise {name} {measured:.2} >= {limit:.1} GB/s")?;
    }
    Ok(())
}
