//! Follows all patterns at once, one byte after the other, in time that does not depend on how many
//! patterns there are, how long they are and how often they repeat themselves (Aho and Corasick,
//! 1975).
//!
//! A state stands for the longest end of what was read that a pattern begins with. The states of a
//! pattern follow each other in memory, so that most need not say what comes next.

use super::plain::Pattern;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The state in which nothing is known.
pub(super) const ROOT: u32 = 0;

/// What is known of a state.
struct Node {
    /// The next longest end that a pattern begins with.
    fail: u32,
    /// How many bytes the end has.
    depth: u32,
    /// The same of the longest end after which a pattern goes on.
    open: u32,
    /// The length of the longest pattern that the end ends with, or 0.
    ends: u32,
    /// The same, of the patterns that are looked for in base64 and hexadecimal digits.
    ends_coded: u32,
}

/// All patterns as one automaton.
pub(super) struct Automaton {
    /// In the order of the sorted patterns: the first child of a node comes right after it.
    nodes: Vec<Node>,
    /// The byte that leads to each node.
    labels: Zeroizing<Vec<u8>>,
    others: Others,
    /// Whether a node has children in `others`.
    forks: Vec<bool>,
    root: Box<[u32; 256]>,
}

impl Automaton {
    /// Takes in patterns that are sorted, each once.
    pub(super) fn of(patterns: &[Arc<Pattern>]) -> Self {
        let node = |depth| Node { fail: ROOT, depth, open: 0, ends: 0, ends_coded: 0 };
        let (mut nodes, mut parents) = (vec![node(0)], vec![ROOT]);
        // Of a size that it never outgrows: what it leaves behind would not be cleared.
        let most = patterns.iter().map(|p| p.bytes.expose().len()).sum::<usize>() + 1;
        let mut labels = Zeroizing::new(Vec::with_capacity(most));
        labels.push(0);
        let mut others = Vec::new();
        let mut root = Box::new([ROOT; 256]);
        // The nodes of the pattern before.
        let mut path = vec![ROOT];
        let mut before: &[u8] = &[];
        for pattern in patterns {
            let bytes = pattern.bytes.expose();
            let common = bytes.iter().zip(before).take_while(|(a, b)| a == b).count();
            path.truncate(common + 1);
            for &label in &bytes[common..] {
                let (parent, id) = (path[path.len() - 1], nodes.len() as u32);
                if parent == ROOT {
                    root[usize::from(label)] = id;
                } else if parent + 1 != id {
                    others.push((parent, label, id));
                }
                nodes.push(node(path.len() as u32));
                labels.push(label);
                parents.push(parent);
                path.push(id);
            }
            let end = &mut nodes[path[path.len() - 1] as usize];
            end.ends = end.depth;
            end.ends_coded = if pattern.coded { end.depth } else { 0 };
            before = bytes;
        }
        let mut forks = vec![false; nodes.len()];
        others.iter().for_each(|&(parent, ..)| forks[parent as usize] = true);
        let mut automaton = Self { nodes, labels, others: Others::of(&others), forks, root };
        automaton.link(&parents);
        automaton
    }

    /// Finds the next longest ends, those of short ones first.
    fn link(&mut self, parents: &[u32]) {
        // All nodes of a depth, in the order of the depths.
        let depths = self.nodes.iter().map(|n| n.depth as usize);
        let mut places = vec![0; depths.clone().max().unwrap_or(0) + 2];
        depths.clone().for_each(|depth| places[depth + 1] += 1);
        (1..places.len()).for_each(|depth| places[depth] += places[depth - 1]);
        let mut order = vec![0; self.nodes.len()];
        for (at, depth) in depths.enumerate() {
            order[places[depth]] = at;
            places[depth] += 1;
        }
        for at in order.into_iter().skip(1) {
            if self.nodes[at].depth > 1 {
                let fail = self.nodes[parents[at] as usize].fail;
                self.nodes[at].fail = self.step(fail, self.labels[at]);
            }
            let depth = self.nodes[at].depth;
            let goes_on = self.nodes.get(at + 1).is_some_and(|n| n.depth == depth + 1);
            let shorter = &self.nodes[self.nodes[at].fail as usize];
            let (open, ends, ends_coded) = (shorter.open, shorter.ends, shorter.ends_coded);
            let node = &mut self.nodes[at];
            node.open = if goes_on { depth } else { open };
            node.ends = node.ends.max(ends);
            node.ends_coded = node.ends_coded.max(ends_coded);
        }
    }

    fn child(&self, state: u32, byte: u8) -> Option<u32> {
        let (first, depth) = (state as usize + 1, self.nodes[state as usize].depth);
        let is_child = |n: &Node| n.depth == depth + 1 && self.labels[first] == byte;
        if self.nodes.get(first).is_some_and(is_child) {
            return Some(state + 1);
        }
        if self.forks[state as usize] { self.others.get(state, byte) } else { None }
    }

    /// Reads a byte.
    pub(super) fn step(&self, mut state: u32, byte: u8) -> u32 {
        loop {
            #[cfg(test)]
            steps::count();
            if state == ROOT {
                return self.root[usize::from(byte)];
            }
            if let Some(next) = self.child(state, byte) {
                return next;
            }
            state = self.nodes[state as usize].fail;
        }
    }

    /// How many of the bytes read last a pattern begins with and goes on after.
    pub(super) fn depth(&self, state: u32) -> u64 {
        u64::from(self.nodes[state as usize].open)
    }

    /// The length of the longest pattern that ends here, or 0.
    pub(super) fn ends(&self, state: u32) -> u64 {
        u64::from(self.nodes[state as usize].ends)
    }

    /// The same, of the patterns that are looked for in base64 and hexadecimal digits.
    pub(super) fn ends_coded(&self, state: u32) -> u64 {
        u64::from(self.nodes[state as usize].ends_coded)
    }

    /// Whether a pattern begins with a byte whose upper bits are these; `shift` says how many
    /// lower ones there are.
    pub(super) fn begins(&self, upper: u8, shift: u32) -> bool {
        let first = usize::from(upper) << shift;
        self.root[first..first + (1 << shift)].iter().any(|&id| id != ROOT)
    }
}

/// The children that are not the first ones, in a table with room for twice as many: each where its
/// hash says, or in the next free place.
struct Others(Vec<(u32, u8, u32)>);

impl Others {
    fn of(children: &[(u32, u8, u32)]) -> Self {
        let mut table = Self(vec![(ROOT, 0, ROOT); (children.len() * 2 + 1).next_power_of_two()]);
        for &child in children {
            let place = table.places(child.0, child.1).find(|at| table.0[*at].2 == ROOT);
            if let Some(place) = place {
                table.0[place] = child;
            }
        }
        table
    }

    fn places(&self, state: u32, byte: u8) -> impl Iterator<Item = usize> + use<> {
        let key = u64::from(state) << 8 | u64::from(byte);
        let (hash, mask) = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32, self.0.len() - 1);
        (0..=mask).map(move |step| (hash as usize + step) & mask)
    }

    fn get(&self, state: u32, byte: u8) -> Option<u32> {
        for at in self.places(state, byte) {
            let (parent, label, child) = self.0[at];
            if child == ROOT {
                return None;
            }
            if (parent, label) == (state, byte) {
                return Some(child);
            }
        }
        None
    }
}

impl Default for Automaton {
    fn default() -> Self {
        Self::of(&[])
    }
}

/// Counts steps, so that a test can tell how the work grows.
#[cfg(test)]
pub(super) mod steps {
    use std::cell::Cell;

    thread_local!(static STEPS: Cell<u64> = const { Cell::new(0) });

    pub(super) fn count() {
        STEPS.set(STEPS.get() + 1);
    }

    /// The steps of this thread since the last call.
    pub(in crate::redact) fn take() -> u64 {
        STEPS.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn every_longest_end_is_known() {
        let patterns = ["ab", "abab", "abcd", "bab", "bcx", "x"];
        let all = patterns.iter().map(|p| Pattern { bytes: Secret::new(*p), coded: *p != "bab" });
        let automaton = Automaton::of(&all.map(Arc::new).collect::<Vec<_>>());
        let text = "abababcdbcxabcbabcx";
        let mut state = ROOT;
        for end in 1..=text.len() {
            state = automaton.step(state, text.as_bytes()[end - 1]);
            let ends = |f: &dyn Fn(&str) -> bool| {
                (0..end).rev().filter(|&at| f(&text[at..end])).map(|at| end - at).max().unwrap_or(0)
            };
            let depth = ends(&|t| patterns.iter().any(|p| p.starts_with(t) && *p != t));
            assert_eq!(automaton.depth(state), depth as u64, "{}", &text[..end]);
            assert_eq!(automaton.ends(state), ends(&|t| patterns.contains(&t)) as u64);
            let coded = ends(&|t| t != "bab" && patterns.contains(&t));
            assert_eq!(automaton.ends_coded(state), coded as u64);
        }
        assert!(automaton.begins(b'a' >> 4, 4) && !automaton.begins(b'0' >> 4, 4));
    }
}
