//! Patterns of names: `*` is anything but a slash, `**` anything, `?` one character but a slash.

/// Patterns in their order. One that begins with `!` takes out what those before let in; the last
/// that fits decides.
#[derive(Clone, Debug)]
pub(crate) struct Globs(Vec<(bool, Vec<Token>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Is(char),
    One,
    Some,
    Any,
}

impl Globs {
    pub(crate) fn new(patterns: &[String]) -> Self {
        let read = |pattern: &String| match pattern.strip_prefix('!') {
            Some(rest) => (false, tokens(rest)),
            None => (true, tokens(pattern)),
        };
        Self(patterns.iter().map(read).collect())
    }

    /// Whether a name counts. Without patterns every name does, and also one that no pattern
    /// speaks of, if the first takes out.
    pub(crate) fn fit(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let by_default = self.0.first().is_none_or(|(lets_in, _)| !lets_in);
        let last = self.0.iter().rev().find(|(_, pattern)| fits(pattern, &name));
        last.map_or(by_default, |(lets_in, _)| *lets_in)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for c in pattern.chars() {
        let token = match (c, tokens.last()) {
            ('*', Some(Token::Some | Token::Any)) => {
                tokens.pop();
                Token::Any
            }
            ('*', _) => Token::Some,
            ('?', _) => Token::One,
            _ => Token::Is(c),
        };
        tokens.push(token);
    }
    tokens
}

/// Places in the pattern that the name can have led to, kept side by side: the time is the length
/// of the pattern times that of the name, whatever they are.
fn fits(pattern: &[Token], name: &[char]) -> bool {
    let mut at = vec![false; pattern.len() + 1];
    at[0] = true;
    skip(pattern, &mut at);
    for &c in name {
        let mut next = vec![false; pattern.len() + 1];
        for (i, token) in pattern.iter().enumerate().filter(|(i, _)| at[*i]) {
            match token {
                Token::Is(is) if *is == c => next[i + 1] = true,
                Token::One if c != '/' => next[i + 1] = true,
                Token::Some if c != '/' => next[i] = true,
                Token::Any => next[i] = true,
                _ => {}
            }
        }
        skip(pattern, &mut next);
        at = next;
    }
    at[pattern.len()]
}

/// A star may stand for nothing.
fn skip(pattern: &[Token], at: &mut [bool]) {
    for (i, token) in pattern.iter().enumerate() {
        if at[i] && matches!(token, Token::Some | Token::Any) {
            at[i + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(patterns: &[&str], name: &str) -> bool {
        Globs::new(&patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()).fit(name)
    }

    #[test]
    fn stars_stop_at_slashes_unless_doubled() {
        assert!(fit(&["main"], "main") && !fit(&["main"], "mainly") && !fit(&["main"], "amain"));
        assert!(fit(&["v*"], "v1.2") && !fit(&["v*"], "v1/2") && fit(&["v**"], "v1/2"));
        assert!(fit(&["acme/*"], "acme/app") && !fit(&["acme/*"], "acme/app/sub"));
        assert!(!fit(&["acme/*"], "evil/acme/app") && !fit(&["acme/*"], "acme"));
        assert!(fit(&["src/**/x.rs"], "src/a/b/x.rs") && fit(&["?.rs"], "ü.rs"));
        assert!(fit(&["**"], "") && fit(&["*"], ""));
    }

    #[test]
    fn the_last_that_fits_decides() {
        assert!(fit(&[], "anything"));
        assert!(fit(&["**", "!wip/**"], "main") && !fit(&["**", "!wip/**"], "wip/x"));
        assert!(fit(&["!wip/**"], "main") && !fit(&["!wip/**"], "wip/x"));
        assert!(fit(&["**", "!wip/**", "wip/keep"], "wip/keep"));
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_longer_than_its_length() {
        let pattern = "*a".repeat(200);
        assert!(!fit(&[&pattern], &"a".repeat(5_000).replace("aaaaa", "aaaab")));
    }
}
